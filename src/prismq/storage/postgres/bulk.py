"""Many new tasks at once, by COPY: what they say is written down while the server already reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

from pydantic_core import to_json

from prismq.domain.task import Enqueued, NewTask
from prismq.domain.times import from_epoch
from prismq.storage.entries import band_of
from prismq.storage.postgres.arrays import arrays, copy_lines
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.queries import query

_NEXT_IDS = query("next_ids")
_ADD_NEW_DEPTH = query("add_new_depth")

# From here on COPY is faster than one INSERT of them all, in spite of one more exchange with the server.
COPY_MIN = 100
_PIECE = 500  # rows that are in memory twice, and that the server works at while the next are written down

# A column, the task's field, and what it is where nothing was said of it: left out, it is the table's default.
_COLUMNS: tuple[tuple[str, str, Any], ...] = (
    ("queue", "queue", "default"),
    ("priority", "priority", 100),
    ("compatibility", "compatibility", "{}"),
    ("max_attempts", "max_attempts", 5),
    ("tags", "tags", None),
    ("timeout_seconds", "timeout_s", None),
    ("backoff", "backoff", None),
    ("retention_seconds", "retention_s", None),
    ("schedule", "schedule", None),
)


def copy_in(database: PostgresDatabase, news: Sequence[NewTask], now: float) -> list[Enqueued]:
    """All of `news` in one transaction; none of them has an idempotency key or a unique key."""
    skew = database.skew_s()
    at = from_epoch(now + skew)
    with database.transaction() as connection:
        with database.pipeline(connection):
            asked = connection.execute(_NEXT_IDS, (len(news),))
            told = _told(news, now, skew, None if database.server_clock else at)
            [(text,)] = asked.fetchall()
        ids = sorted(map(int, text.split(",")))
        sql = f"COPY task_queue (id, {', '.join(told)}, revision) FROM STDIN"
        columns = [ids, *told.values(), [1] * len(news)]
        with connection.cursor() as cursor, cursor.copy(sql) as copy:
            for first in range(0, len(news), _PIECE):
                copy.write(copy_lines([column[first : first + _PIECE] for column in columns]))
            counts = _counts(news, told.get("status"))
        connection.execute(_ADD_NEW_DEPTH, (at, *arrays((*key, tasks) for key, tasks in counts.items())))
    return list(map(Enqueued, ids, repeat(True)))


def _told(news: Sequence[NewTask], now: float, skew: float, at: Any) -> dict[str, list[Any]]:
    """The columns that say something. `at`: the time of all of them, where the server's own is not the default."""
    told: dict[str, list[Any]] = {"type": _all(news, "type"), "payload": _all(news, "payload")}
    for column, name, default in _COLUMNS:
        values = _all(news, name)
        if values.count(default) != len(values):
            told[column] = values
    if any(_all(news, "headers")):
        told["headers"] = [to_json(new.headers).decode() if new.headers else None for new in news]
    if at is not None:
        told["created_at_utc"] = told["updated_at_utc"] = [at] * len(news)
    run_at = _all(news, "run_at")
    if run_at.count(None) != len(run_at):
        soon = from_epoch(now + skew) if at is None else at
        later = [moment is not None and moment > now for moment in run_at]
        told["status"] = ["scheduled" if waits else "queued" for waits in later]
        told["run_after_utc"] = [
            from_epoch(moment + skew) if waits else soon for moment, waits in zip(run_at, later, strict=True)
        ]
    elif at is not None:
        told["run_after_utc"] = told["created_at_utc"]
    return told


def _all(news: Sequence[NewTask], name: str) -> list[Any]:
    return list(map(attrgetter(name), news))


def _counts(news: Sequence[NewTask], statuses: Sequence[str] | None) -> Counter[tuple[str, str, str, str]]:
    """How many there are of what the books tell apart."""
    alike = Counter(zip(map(attrgetter("queue", "type", "priority"), news), statuses or repeat("queued"), strict=False))
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for ((queue, type_, priority), status), tasks in alike.items():
        counts[queue, type_, status, band_of(priority)] += tasks
    return counts
