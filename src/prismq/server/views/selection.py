"""Which tasks a page or an action means: read from a query or a form, and written back into a link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from prismq.app import PrismQ
from prismq.domain.errors import InvalidArgument
from prismq.domain.status import parse_status
from prismq.domain.task import Task, TaskFilter
from prismq.domain.times import from_text, to_epoch
from prismq.server import actions
from prismq.server.finding import RUNNING, is_by_books

IDS_MAX = 1_000  # of tasks that were chosen one by one
_SAMPLE = 10
_DATABASE_ID_MAX = 2**63 - 1
_TEXTS = ("type", "queue", "schedule", "tag", "text")
_TIMES = ("after", "before")


class Pairs(NamedTuple):
    """The fields of a query or a form, as they came; a name may come more than once."""

    items: Sequence[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Every value of this name that is not empty."""
        return [value.strip() for key, value in self.items if key == name and value.strip()]

    def one(self, name: str) -> str | None:
        """The first value; None where there is none."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True)
class Selection:
    """The conditions as a person gave them."""

    which: TaskFilter = field(default_factory=TaskFilter)
    after: str = ""
    before: str = ""

    @property
    def query(self) -> str:
        """The conditions as a query, so that what is seen can be shared."""
        return urlencode(self.pairs())

    def pairs(self) -> list[tuple[str, str]]:
        """The conditions as fields of a form."""
        which = self.which
        found = [("id", str(one)) for one in which.ids]
        found += [("status", one) for one in which.statuses]
        found += [(name, value) for name in _TEXTS if (value := getattr(which, name)) is not None]
        found += [(name, value) for name in _TIMES if (value := getattr(self, name))]
        return found

    def with_statuses(self, *statuses: str) -> Selection:
        """The same of these statuses."""
        return replace(self, which=replace(self.which, statuses=statuses))

    @property
    def without_statuses(self) -> Selection:
        """The same of every status."""
        return self.with_statuses()

    @property
    def is_by_books(self) -> bool:
        """Whether the books know how many match."""
        return is_by_books(self.which)

    @property
    def words(self) -> str:
        """The conditions as a person says them."""
        which, said = self.which, []
        if which.ids:
            said.append(f"{len(which.ids):,} chosen")
        if which.statuses:
            said.append(" or ".join(one.replace("_", " ") for one in which.statuses))
        said += [f"{name} {value!r}" for name in _TEXTS if (value := getattr(which, name)) is not None]
        said += [f"enqueued {name} {value}" for name in _TIMES if (value := getattr(self, name))]
        return ", ".join(said) or "every task"


def selection_of(pairs: Pairs) -> Selection:
    """Read it. `running` means claimed and processing. Raises InvalidArgument and UnknownStatus, for people to read."""
    statuses: list[str] = []
    for text in pairs.all("status"):
        statuses += RUNNING if text.lower() == "running" else [parse_status(text).value]
    after, before = (pairs.one(name) or "" for name in _TIMES)
    texts = {name: pairs.one(name) for name in _TEXTS}
    which = TaskFilter(
        ids=tuple(_ids(pairs.all("id"))),
        statuses=tuple(dict.fromkeys(statuses)),
        created_after=_time("after", after),
        created_before=_time("before", before),
        **texts,
    )
    return Selection(which, after, before)


def _ids(texts: Iterable[str]) -> list[int]:
    found = []
    for text in texts:
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _DATABASE_ID_MAX):
            raise InvalidArgument(f"{text[:40]!r} is not the id of a task: ids are whole numbers")
        found.append(int(text))
    if len(found) > IDS_MAX:
        raise InvalidArgument(f"at most {IDS_MAX:,} tasks can be chosen one by one; use a filter for more")
    return list(dict.fromkeys(found))


def _time(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        moment: datetime = from_text(text)
    except ValueError:
        raise InvalidArgument(f"{name!r} takes a time in UTC such as 2025-01-31 06:30, not {text[:40]!r}") from None
    return to_epoch(moment)


class Action(NamedTuple):
    """Something that can be done to tasks; `key` is that of prismq.server.actions. `on`: in which statuses."""

    key: str
    verb: str
    done: str
    on: tuple[str, ...]
    warning: str = ""
    is_dangerous: bool = False


_ENDED = ("completed", "failed", "dead_letter", "cancelled")
_WAITING = ("queued", "scheduled")
ACTIONS = {
    one.key: one
    for one in (
        Action("retry", "Retry", "queued again", _ENDED, "Each gets all its attempts again."),
        Action("run-now", "Run now", "made ready", ("scheduled",)),
        Action(
            "cancel", "Cancel", "cancelled", (*_WAITING, *RUNNING),
            "Running ones are asked to stop; until they have, they are cancelling.", is_dangerous=True,
        ),
        Action("reprioritise", "Set priority", "given the priority", _WAITING, "Lower runs first; 100 is normal."),
        Action(
            "delete", "Delete", "deleted", (*_WAITING, *_ENDED),
            "They go with their logs and attempts. This cannot be undone.", is_dangerous=True,
        ),
    )
}  # fmt: skip


def action_of(key: str | None) -> Action:
    """The action of this key. Raises InvalidArgument."""
    found = ACTIONS.get(key or "")
    if found is None:
        raise InvalidArgument(f"there is no action {(key or '')[:40]!r}; there are {', '.join(ACTIONS)}")
    return found


@dataclass(frozen=True)
class Ask:
    """What an action would do, before anybody agrees to it. `exact` is False where there are more than `count`."""

    action: Action
    selection: Selection
    count: int
    exact: bool
    sample: Sequence[Task]
    left_alone: int


def ask(q: PrismQ, action: Action, selection: Selection) -> Ask:
    """Count what would be done, without doing it. Raises InvalidArgument and QueueDatabaseError."""
    if selection.which.ids and not selection.which.statuses:
        # Who chose a task by itself means it, whatever a filter would leave out.
        selection = selection.with_statuses(*action.on)
    meant = replace(selection, which=actions.within(action.key, selection.which))
    found = actions.preview(q, action.key, meant.which)
    sample = q.store.tasks.find(meant.which, limit=min(_SAMPLE, found.matching)) if found.matching else []
    chosen = len(selection.which.ids)
    return Ask(action, meant, found.matching, found.exact, sample, max(0, chosen - found.matching) if chosen else 0)
