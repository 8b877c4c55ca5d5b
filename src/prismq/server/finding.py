"""Lists of tasks that take no longer because the history is long: a free search stops, and says where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from prismq.domain.task import Task, TaskFilter
from prismq.storage.contract import Store

RUNNING = ("claimed", "processing")
LOOKED_AT = 30_000  # tasks that a free search looks at before it asks whether to go on
_WINDOW = 10_000
_FEW = 20_000
_INDEXED = frozenset({*RUNNING, "queued", "scheduled", "failed", "dead_letter", "cancelled"})

Depth = Mapping[tuple[str, str, str, str], int]  # tasks by queue, type, status and band


class Found(NamedTuple):
    """Tasks, newest first. `go_on_before`: the id to go on before, None at the end. `looked_at`: how many tasks were
    searched, where there are older ones that were not; else 0."""

    tasks: list[Task]
    go_on_before: int | None
    looked_at: int


def is_by_books(which: TaskFilter) -> bool:
    """Whether the books know how many match."""
    return replace(which, statuses=(), type=None, queue=None) == TaskFilter()


def total(depth: Depth, which: TaskFilter) -> int:
    """How many tasks the books have of these types, queues and statuses."""
    return sum(
        tasks
        for (queue, type_, status, _), tasks in depth.items()
        if (which.queue in (None, queue))
        and (which.type in (None, type_))
        and (not which.statuses or status in which.statuses)
    )


def find_tasks(store: Store, which: TaskFilter, limit: int, before_id: int | None, depth: Depth | None = None) -> Found:
    """At most `limit` tasks that match, from `before_id` backwards. `depth`: the books, where they were read already.

    Raises QueueDatabaseError.
    """
    known = total(store.insight.depth() if depth is None else depth, which)
    found, looked_to = _look(store, which, limit + 1, before_id, known)
    shown = found[:limit]
    if len(found) > limit:
        return Found(shown, shown[-1].id, 0)
    return Found(shown, looked_to, 0 if looked_to is None else LOOKED_AT)


def _look(
    store: Store, which: TaskFilter, limit: int, before_id: int | None, known: int
) -> tuple[list[Task], int | None]:
    if which.ids:
        return store.tasks.find(which, limit=limit, before_id=before_id), None
    if known == 0:
        return [], None
    if is_by_books(which) and len(which.statuses) > 1:
        # Each has its place in an index, all together have none.
        each = [_look(store, replace(which, statuses=(one,)), limit, before_id, known)[0] for one in which.statuses]
        return sorted((task for some in each for task in some), key=lambda task: -(task.id or 0))[:limit], None
    if is_by_books(which):
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
        start = max(1, place - _WINDOW)
        found += store.tasks.find(which, limit=limit - len(found), before_id=place, from_id=start)
        place = start
    return found, place if place > 1 and len(found) < limit else None
