"""Putting work in: one statement, one transaction, straight from the caller's thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import Enqueued, NewTask
from prismq.domain.times import from_epoch
from prismq.storage.entries import band_of
from prismq.storage.postgres.arrays import array
from prismq.storage.postgres.books import Statements
from prismq.storage.postgres.bulk import COPY_MIN, copy_in
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.guests import Guest
from prismq.storage.postgres.queries import query

_ENQUEUE = query("enqueue")
_ENQUEUE_ONCE = query("enqueue_once")
_ENQUEUE_MANY = query("enqueue_many")
_FIND_BY_KEYS = query("find_by_keys")
_LOCK_UNIQUE_KEY = query("lock_unique_key")
_FIND_UNIQUE_HOLDER = query("find_unique_holder")
_HOLD_UNIQUE_KEY = query("hold_unique_key")

_TRIES = 5

_EACH = ("type", "queue", "priority", "payload", "compatibility", "status", "max_attempts", "run_after", "key", "tags",
         "timeout_s", "backoff", "retention_s", "headers", "schedule")  # fmt: skip

# The caller's own connection inside `transaction(connection)`. Not by thread: its coroutines are not all inside.
_bound: ContextVar[Guest | None] = ContextVar("prismq_bound_postgres", default=None)


class PostgresInbox:
    """The Inbox protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def enqueue(self, new: NewTask, now: float) -> Enqueued:
        """See Inbox.enqueue. A repetition with the same idempotency key is safe, whatever became of the first."""
        skew = self._database.skew_s()
        if new.unique_key is not None:
            with self._writing() as connection:
                return self._enqueue_unique(connection, new, now, skew)
        values = _values(new, now, skew, from_epoch(now + skew))
        guest = _bound.get()
        if guest is not None:
            with guest.single():
                return self._insert(guest, values, new)
        with self._database.reading() as connection:
            return self._insert(connection, values, new)

    @staticmethod
    def _insert(connection: Statements, values: dict[str, Any], new: NewTask) -> Enqueued:
        sql = _ENQUEUE if new.idempotency_key is None else _ENQUEUE_ONCE
        for _ in range(_TRIES):
            row = connection.execute(sql, values).fetchone()
            if row is not None:
                return Enqueued(row[0], row[1])
            # The holder of the key was written, or deleted, while the statement ran: a new one sees it.
        raise QueueDatabaseError(f"idempotency key {new.idempotency_key!r} comes and goes; the task was not enqueued")

    def _enqueue_unique(self, connection: Statements, new: NewTask, now: float, skew: float) -> Enqueued:
        at = from_epoch(now + skew)
        connection.execute(_LOCK_UNIQUE_KEY, (f"prismq {self._database.schema} {new.unique_key}",))
        holder = connection.execute(_FIND_UNIQUE_HOLDER, {"key": new.unique_key, "now": at}).fetchone()
        if holder:
            return Enqueued(holder[0], False)
        done = self._insert(connection, _values(new, now, skew, at), new)
        if done.created:
            until = from_epoch(now + skew + new.unique_for_s)
            connection.execute(_HOLD_UNIQUE_KEY, (new.unique_key, done.task_id, until, new.unique_pending))
        return done

    def enqueue_many(self, news: Sequence[NewTask], now: float) -> list[Enqueued]:
        """See Inbox.enqueue_many."""
        if not news:
            return []
        skew = self._database.skew_s()
        at = from_epoch(now + skew)
        if any(new.unique_key is not None for new in news):
            with self._writing() as connection:
                return [
                    self._enqueue_unique(connection, new, now, skew)
                    if new.unique_key is not None
                    else self._insert(connection, _values(new, now, skew, at), new)
                    for new in news
                ]
        keyed = any(new.idempotency_key is not None for new in news)
        if _bound.get() is None and not keyed and len(news) >= COPY_MIN:
            return copy_in(self._database, news, now)
        rows = [_values(new, now, skew, at) for new in news]
        with self._writing() as connection:
            return _insert_many(connection, rows, at)

    @contextmanager
    def transaction(self, connection: Any = None) -> Iterator[Any]:
        """See Inbox.transaction. Takes psycopg's Connection, and a Session or Connection of SQLAlchemy over it."""
        if connection is None:
            with self._database.transaction() as own:
                yield own
            return
        guest = Guest(connection, self._database)
        token = _bound.set(guest)
        try:
            yield connection
        finally:
            _bound.reset(token)
        with guest.single():  # heard with the caller's commit, of which nobody else learns
            guest.execute("SELECT pg_notify(%s, '')", (self._database.channel,))

    def bound(self) -> bool:
        """See Inbox.bound."""
        return _bound.get() is not None or self._database.in_transaction

    @contextmanager
    def _writing(self) -> Iterator[Statements]:
        guest = _bound.get()
        if guest is not None:
            with guest.savepoint():
                yield guest
            return
        with self._database.transaction() as connection:
            yield connection


def _values(new: NewTask, now: float, skew: float, at: datetime) -> dict[str, Any]:
    later = new.run_at is not None and new.run_at > now
    return {
        "type": new.type, "queue": new.queue, "priority": new.priority, "payload": new.payload,
        "compatibility": new.compatibility, "status": "scheduled" if later else "queued",
        "max_attempts": new.max_attempts, "run_after": from_epoch((new.run_at or 0.0) + skew) if later else at,
        "key": new.idempotency_key, "now": at, "tags": new.tags, "timeout_s": new.timeout_s, "backoff": new.backoff,
        "retention_s": new.retention_s, "headers": to_json(new.headers).decode() if new.headers else None,
        "schedule": new.schedule, "band": band_of(new.priority),
    }  # fmt: skip


def _insert_many(connection: Statements, rows: list[dict[str, Any]], at: datetime) -> list[Enqueued]:
    done: dict[int, Enqueued] = {}
    taken: set[str] = set()
    waiting = list(enumerate(rows))
    for _ in range(_TRIES):
        columns = {name: array([row[name] for _, row in waiting]) for name in _EACH}
        inserted = connection.execute(_ENQUEUE_MANY, {**columns, "now": at}).fetchall()
        keys = {key: task_id for task_id, key in inserted if key is not None}
        plain = iter([task_id for task_id, key in inserted if key is None])
        for number, row in waiting:
            key = row["key"]
            if key is None:
                done[number] = Enqueued(next(plain), True)
            elif key in keys:  # of several with one key the first was written
                done[number] = Enqueued(keys[key], key not in taken)
                taken.add(key)
        waiting = [(number, row) for number, row in waiting if number not in done]
        if waiting:
            found = dict(connection.execute(_FIND_BY_KEYS, ([row["key"] for _, row in waiting],)).fetchall())
            for number, row in waiting:
                if row["key"] in found:
                    done[number] = Enqueued(found[row["key"]], False)
            # What is in neither answer was deleted between the two: its key is free again.
            waiting = [(number, row) for number, row in waiting if number not in done]
        if not waiting:
            return [done[number] for number in range(len(rows))]
    raise QueueDatabaseError(
        f"idempotency key {waiting[0][1]['key']!r} comes and goes; none of the {len(rows)} tasks was enqueued"
    )
