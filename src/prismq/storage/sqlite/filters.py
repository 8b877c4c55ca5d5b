"""A TaskFilter as SQL: every value is bound, and the words are those of this file."""

from __future__ import annotations

import json
from typing import Any

from prismq.domain.status import parse_status
from prismq.domain.task import TaskFilter
from prismq.domain.times import epoch_to_text

# Where to look for tasks of few states, so that the length of the history does not matter. The condition is the
# index's own; only with it may the index be used.
_PLACES = (
    ({"claimed", "processing"}, "ix_task_held", "status IN ('claimed', 'processing')"),
    ({"queued"}, "ix_task_ready", "status = 'queued'"),
    ({"scheduled"}, "ix_task_due", "status = 'scheduled'"),
)


def place(which: TaskFilter) -> tuple[str, str]:
    """The table as a FROM clause names it, and a condition that goes with it."""
    statuses = {parse_status(status).value for status in which.statuses}
    if statuses and not which.ids:
        for states, index, condition in _PLACES:
            if statuses <= states:
                return f"task_queue INDEXED BY {index}", condition
    return "task_queue", "1"


def where(which: TaskFilter) -> tuple[str, list[Any]]:
    """The condition and its parameters; `1` where nothing is restricted."""
    conditions: list[str] = []
    params: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        params.extend(values)

    if which.ids:
        add("id IN (SELECT value FROM json_each(?))", json.dumps(list(which.ids)))
    if which.statuses:
        # Written out, not bound: only then does SQLite see that a partial index serves.
        names = sorted({parse_status(status).value for status in which.statuses})
        quoted = ", ".join(f"'{name}'" for name in names)
        add(f"status = '{names[0]}'" if len(names) == 1 else f"status IN ({quoted})")
    if which.type is not None:
        add("type = ?", which.type)
    if which.queue is not None:
        add("queue = ?", which.queue)
    if which.schedule is not None:
        add("schedule = ?", which.schedule)
    if which.tag is not None:
        # Text that is not JSON, written by hand, would end the whole search.
        tags = "CASE WHEN json_valid(task_queue.tags) THEN task_queue.tags END"
        add(f"EXISTS (SELECT 1 FROM json_each({tags}) WHERE value = ?)", which.tag)
    if which.text is not None:
        add(
            "(instr(lower(payload), lower(?)) OR instr(lower(coalesce(error_message, '')), lower(?)))",
            *[which.text] * 2,
        )
    if which.created_after is not None:
        add("created_at_utc >= ?", epoch_to_text(which.created_after))
    if which.created_before is not None:
        add("created_at_utc < ?", epoch_to_text(which.created_before))
    return " AND ".join(conditions) or "1", params
