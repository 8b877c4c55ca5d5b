"""The list of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prismq.app import PrismQ
from prismq.domain.task import Task, TaskFilter
from prismq.domain.words import plural
from prismq.server.views.selection import RUNNING, Selection, total
from prismq.storage.contract import Store

PAGE = 50
_TABS = (
    ("All", ()),
    ("Queued", ("queued",)),
    ("Scheduled", ("scheduled",)),
    ("Running", RUNNING),
    ("Completed", ("completed",)),
    ("Failed", ("failed",)),
    ("Dead letters", ("dead_letter",)),
    ("Cancelled", ("cancelled",)),
)  # fmt: skip
LOOKED_AT = 30_000  # tasks that a free search looks at before it asks whether to go on
_WINDOW = 10_000
_FEW = 20_000
_INDEXED = frozenset({*RUNNING, "queued", "scheduled", "failed", "dead_letter", "cancelled"})
_NAMES_MAX = 500  # of types and queues that are offered for completion


@dataclass(frozen=True)
class Tab:
    """A status to look at, and how many tasks of the chosen queue and type have it, by the books."""

    label: str
    statuses: tuple[str, ...]
    count: int
    query: str
    is_chosen: bool


@dataclass(frozen=True)
class TasksPage:
    """A page of the list, newest first."""

    selection: Selection
    tabs: Sequence[Tab]
    tasks: Sequence[Task]
    next_before_id: int | None
    before_id: int | None
    looked_at: int  # how many tasks were searched, where there are older ones that were not; else 0
    matching: str  # how many match, in words
    types: Sequence[str]
    queues: Sequence[str]
    at: float


def _look(store: Store, selection: Selection, before_id: int | None, known: int) -> tuple[list[Task], int | None]:
    """A page and one task more; and where a free search stopped before it was through, the id it came to."""
    which, limit = selection.which, PAGE + 1
    if which.ids:
        return store.tasks.find(which, limit=limit, before_id=before_id), None
    if known == 0:
        return [], None
    if selection.is_by_books:
        # Where there are few, nobody looks for more of them through the whole history.
        return store.tasks.find(which, limit=limit if before_id else min(limit, known), before_id=before_id), None
    if known <= _FEW and which.statuses and _INDEXED.issuperset(which.statuses):
        return store.tasks.find(which, limit=limit, before_id=before_id), None
    newest = store.tasks.find(TaskFilter(), limit=1, before_id=before_id)
    found: list[Task] = []
    place = (newest[0].id or 0) + 1 if newest else 0
    for _ in range(LOOKED_AT // _WINDOW):
        if place <= 1 or len(found) >= limit:
            break
        ids = range(max(1, place - _WINDOW), place)
        found += store.tasks.find(replace(which, ids=tuple(ids)), limit=limit - len(found))
        place = ids.start
    return found, place if place > 1 and len(found) < limit else None


def tasks_page(q: PrismQ, selection: Selection, before_id: int | None = None) -> TasksPage:
    """The tasks that match, PAGE at a time from `before_id` backwards. Raises QueueDatabaseError."""
    store = q.store
    depth = store.insight.depth()
    known = total(depth, selection.which)
    found, looked_to = _look(store, selection, before_id, known)
    more = len(found) > PAGE
    shown = found[:PAGE]
    if selection.is_by_books:
        matching = plural(known, "task")
    elif more or looked_to:
        matching = f"{'more than' if more else 'at least'} {plural(len(shown), 'task')}"
    else:
        matching = plural(len(shown), "task" if before_id is None else "more task")
    tabs = [
        Tab(
            label,
            statuses,
            total(depth, replace(selection.which, statuses=statuses)),
            selection.with_statuses(*statuses).query,
            set(statuses) == set(selection.which.statuses),
        )
        for label, statuses in _TABS
    ]
    return TasksPage(
        selection=selection,
        tabs=tabs,
        tasks=shown,
        next_before_id=shown[-1].id if more else looked_to,
        looked_at=LOOKED_AT if looked_to and not more else 0,
        before_id=before_id,
        matching=matching,
        types=sorted({type_ for _, type_, _, _ in depth})[:_NAMES_MAX],
        queues=sorted({queue for queue, _, _, _ in depth})[:_NAMES_MAX],
        at=q.clock.now(),
    )
