"""A TaskFilter as SQL: every value is bound, and the words are those of this file."""

from __future__ import annotations

import json
from typing import Any

from prismq.domain.status import parse_status
from prismq.domain.task import TaskFilter
from prismq.domain.times import epoch_to_text


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
        add("EXISTS (SELECT 1 FROM json_each(task_queue.tags) WHERE value = ?)", which.tag)
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
