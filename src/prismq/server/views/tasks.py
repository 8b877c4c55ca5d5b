"""The list of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prismq.app import PrismQ
from prismq.domain.task import Task
from prismq.domain.words import plural
from prismq.server.views.selection import RUNNING, Selection, total

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
    matching: str  # how many match, in words
    types: Sequence[str]
    queues: Sequence[str]
    at: float


def tasks_page(q: PrismQ, selection: Selection, before_id: int | None = None) -> TasksPage:
    """The tasks that match, PAGE at a time from `before_id` backwards. Raises QueueDatabaseError."""
    store = q.store
    depth = store.insight.depth()
    known = total(depth, selection.which)
    # Where the books say that there are none, or few, nobody looks for more of them through the whole history.
    limit = PAGE + 1
    if before_id is None and not selection.which.ids:
        limit = min(limit, known)
    found = store.tasks.find(selection.which, limit=limit, before_id=before_id) if limit else []
    more = len(found) > PAGE
    shown = found[:PAGE]
    if selection.is_by_books:
        matching = plural(known, "task")
    elif not more and before_id is None:
        matching = plural(len(shown), "task")
    else:
        matching = f"more than {len(shown):,} tasks" if more else plural(len(shown), "more task")
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
        next_before_id=shown[-1].id if more else None,
        before_id=before_id,
        matching=matching,
        types=sorted({type_ for _, type_, _, _ in depth})[:_NAMES_MAX],
        queues=sorted({queue for queue, _, _, _ in depth})[:_NAMES_MAX],
        at=q.clock.now(),
    )
