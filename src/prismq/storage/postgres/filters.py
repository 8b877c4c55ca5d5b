"""A TaskFilter as SQL: every value is bound, and the words are those of this file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from prismq.domain.status import parse_status
from prismq.domain.task import TaskFilter

# Tasks of few states lie in partial indexes of their own, so that the length of the history does not matter.
_SMALL_PLACES = ({"claimed", "processing"}, {"queued"}, {"scheduled"})

NEWEST_FIRST = "id DESC"


def order(which: TaskFilter) -> str:
    """What a list goes by, newest first.

    The sum is the id all the same, but no index gives it: so PostgreSQL takes the partial index of the states and
    sorts the few, where it would else, with statistics of another day, walk through all tasks by their ids.
    """
    statuses = {parse_status(status).value for status in which.statuses}
    few = statuses and not which.ids and any(statuses <= states for states in _SMALL_PLACES)
    return "id + 0 DESC" if few else NEWEST_FIRST


def where(which: TaskFilter, at: Callable[[float], datetime]) -> tuple[str, list[Any]]:
    """The condition and its parameters; `true` where nothing is restricted. `at`: PostgresDatabase.at."""
    conditions: list[str] = []
    params: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        params.extend(values)

    if which.ids:
        add("id = ANY (%s::bigint[])", list(which.ids))
    if which.statuses:
        # Written out, not bound: only then does PostgreSQL see that a partial index serves.
        names = sorted({parse_status(status).value for status in which.statuses})
        quoted = ", ".join(f"'{name}'" for name in names)
        add(f"status = '{names[0]}'" if len(names) == 1 else f"status IN ({quoted})")
    if which.type is not None:
        add("type = %s", which.type)
    if which.queue is not None:
        add("queue = %s", which.queue)
    if which.schedule is not None:
        add("schedule = %s", which.schedule)
    if which.tag is not None:
        add("tags @> to_jsonb(%s::text)", which.tag)
    if which.text is not None:
        add(
            "(strpos(lower(payload::text), lower(%s)) > 0 OR strpos(lower(error_message), lower(%s)) > 0)",
            *[which.text] * 2,
        )
    if which.created_after is not None:
        add("created_at_utc >= %s", at(which.created_after))
    if which.created_before is not None:
        add("created_at_utc < %s", at(which.created_before))
    return " AND ".join(conditions) or "true", params
