"""The list of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prismq.app import PrismQ
from prismq.domain.task import Task
from prismq.domain.words import plural
from prismq.server.finding import RUNNING, find_tasks, total
from prismq.server.views.selection import Selection

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
    looked_at: int  # how many tasks were searched, where there are older ones that were not; else 0
    matching: str  # how many match, in words
    types: Sequence[str]
    queues: Sequence[str]
    at: float


def tasks_page(q: PrismQ, selection: Selection, before_id: int | None = None) -> TasksPage:
    """The tasks that match, PAGE at a time from `before_id` backwards. Raises QueueDatabaseError."""
    store = q.store
    depth = store.insight.depth()
    found = find_tasks(store, selection.which, PAGE, before_id, depth)
    shown, more = found.tasks, found.go_on_before is not None and not found.looked_at
    if selection.is_by_books:
        matching = plural(total(depth, selection.which), "task")
    elif more or found.looked_at:
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
        next_before_id=found.go_on_before,
        looked_at=found.looked_at,
        before_id=before_id,
        matching=matching,
        types=sorted({type_ for _, type_, _, _ in depth})[:_NAMES_MAX],
        queues=sorted({queue for queue, _, _, _ in depth})[:_NAMES_MAX],
        at=q.clock.now(),
    )
