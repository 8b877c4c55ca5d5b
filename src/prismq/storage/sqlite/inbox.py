"""Putting work in: one statement, one transaction, straight from the caller's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic_core import to_json

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import Enqueued, NewTask
from prismq.domain.times import epoch_to_text
from prismq.storage.sqlite.database import QueueDatabase, guest, savepoint
from prismq.storage.sqlite.errors import translate, translated
from prismq.storage.sqlite.queries import query

_ENQUEUE = query("enqueue")
_FIND_BY_KEY = query("find_by_key")
_FIND_UNIQUE_HOLDER = query("find_unique_holder")
_HOLD_UNIQUE_KEY = query("hold_unique_key")
_TAIL_SPAN = query("tail_span")


# The caller's own connection inside `transaction(connection)`. Not by thread: its coroutines are not all inside.
_bound: ContextVar[sqlite3.Connection | None] = ContextVar("prismq_bound", default=None)


class SqliteInbox:
    """The Inbox protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def enqueue(self, new: NewTask, now: float) -> Enqueued:
        """See Inbox.enqueue."""
        if new.unique_key is not None:
            with self._writing() as connection:
                return self._enqueue_unique(connection, new, now)
        row = _row(new, now)
        database = self._database
        try:
            bound = _bound.get()
            if bound is not None:
                with guest(bound):
                    return self._insert(bound, row, new)
            if database.in_transaction:
                return self._insert(database.get_connection(), row, new)
            database.refuse_strangers()
            with database.writer:
                return self._insert(database.get_connection(), row, new)
        except sqlite3.Error as error:
            raise self._explain(error) from error

    @staticmethod
    def _insert(connection: sqlite3.Connection, row: tuple[Any, ...], new: NewTask) -> Enqueued:
        for _ in range(3):
            cursor = connection.execute(_ENQUEUE, row)
            if cursor.rowcount:
                return Enqueued(cursor.lastrowid or 0, True)
            found = connection.execute(_FIND_BY_KEY, (new.idempotency_key,)).fetchone()
            if found:
                return Enqueued(found[0], False)
            # The holder of the key was deleted between the two statements: it is free again.
        raise QueueDatabaseError(f"idempotency key {new.idempotency_key!r} comes and goes; the task was not enqueued")

    def _enqueue_unique(self, connection: sqlite3.Connection, new: NewTask, now: float) -> Enqueued:
        holder = connection.execute(_FIND_UNIQUE_HOLDER, (new.unique_key, epoch_to_text(now))).fetchone()
        if holder:
            return Enqueued(holder[0], False)
        done = self._insert(connection, _row(new, now), new)
        if done.created:
            until = epoch_to_text(now + new.unique_for_s)
            connection.execute(_HOLD_UNIQUE_KEY, (new.unique_key, done.task_id, until, int(new.unique_pending)))
        return done

    def enqueue_many(self, news: Sequence[NewTask], now: float) -> list[Enqueued]:
        """See Inbox.enqueue_many."""
        if not news:
            return []
        with self._writing() as connection:
            # The caller's own file may hold other tables with ids; only each insert knows its own there.
            one_by_one = _bound.get() is not None
            if one_by_one or any(new.idempotency_key is not None or new.unique_key is not None for new in news):
                return [
                    self._enqueue_unique(connection, new, now)
                    if new.unique_key is not None
                    else self._insert(connection, _row(new, now), new)
                    for new in news
                ]
            # Ids are given out in order and nobody else writes meanwhile, so they need not be asked for.
            before = connection.execute(_TAIL_SPAN).fetchone()[1]
            now_text = epoch_to_text(now)
            connection.executemany(_ENQUEUE, [_row(new, now, now_text) for new in news])
            after = connection.execute(_TAIL_SPAN).fetchone()[1]
            if after - before != len(news):
                raise QueueDatabaseError(
                    f"a trigger or a tool changed the ids of {len(news)} new tasks; nothing was enqueued"
                )
        return [Enqueued(task_id, True) for task_id in range(before + 1, after + 1)]

    @contextmanager
    def transaction(self, connection: Any = None) -> Iterator[sqlite3.Connection]:
        """See Inbox.transaction."""
        if connection is None:
            with self._database.transaction() as own:
                yield own
            return
        if not isinstance(connection, sqlite3.Connection):
            raise QueueDatabaseError(
                f"transaction() on this queue takes a sqlite3.Connection to {self._database.db_path}, "
                f"not {type(connection).__name__}"
            )
        with translated(str(self._database.db_path)), guest(connection):
            self._check_callers(connection)
        token = _bound.set(connection)
        try:
            yield connection
        finally:
            _bound.reset(token)

    def _check_callers(self, connection: sqlite3.Connection) -> None:
        databases = connection.execute("PRAGMA database_list").fetchall()
        for _, name, _ in databases:
            if connection.execute(f'SELECT 1 FROM "{name}".sqlite_master WHERE name = ?', ("task_queue",)).fetchone():
                return
        raise QueueDatabaseError(
            f"the connection given to transaction() has no queue in it (its file: {databases[0][2] or 'in memory'}); "
            f"connect to {self._database.db_path}, or keep the queue in your own file with PrismQ(path, adopt=True)"
        )

    def bound(self) -> bool:
        """See Inbox.bound."""
        return _bound.get() is not None or self._database.in_transaction

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        bound = _bound.get()
        if bound is not None:
            with translated(str(self._database.db_path)), guest(bound), savepoint(bound):
                yield bound
            return
        with self._database.transaction() as connection:
            yield connection

    def _explain(self, error: sqlite3.Error) -> QueueDatabaseError:
        return translate(error, str(self._database.db_path))


def _row(new: NewTask, now: float, now_text: str | None = None) -> tuple[Any, ...]:
    now_text = now_text or epoch_to_text(now)
    if new.run_at is None or new.run_at <= now:
        status, run_after = "queued", now_text
    else:
        status, run_after = "scheduled", epoch_to_text(new.run_at)
    return (
        new.type, new.queue, new.priority, new.payload, new.compatibility, status, new.max_attempts, run_after,
        new.idempotency_key, now_text, new.tags, new.timeout_s, new.backoff, new.retention_s,
        to_json(new.headers).decode() if new.headers else None, new.schedule,
    )  # fmt: skip
