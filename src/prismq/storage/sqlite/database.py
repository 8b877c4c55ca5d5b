"""Statements and transactions: each on its thread's connection, one writer a process at a time."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError, QueueSchemaError
from prismq.storage.measuring import Meter
from prismq.storage.sqlite.connections import Connections
from prismq.storage.sqlite.errors import translate, translated
from prismq.storage.sqlite.opening import Opening, equip
from prismq.storage.sqlite.pragmas import PRAGMAS, Durability

Parameters = Sequence[Any] | Mapping[str, Any]

_LOCK_WAIT_MIN_S, _LOCK_WAIT_MAX_S = 0.00004, 0.01  # between two tries for the writer's lock


@contextmanager
def guest(connection: sqlite3.Connection) -> Iterator[None]:
    """For the time of the block, the caller's own connection answers to us as one of ours does."""
    factory, connection.row_factory = connection.row_factory, sqlite3.Row
    try:
        equip(connection)
        yield
    finally:
        connection.row_factory = factory


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or none of it, inside whatever transaction is open on the connection."""
    if not connection.in_transaction and connection.isolation_level is not None:
        # Python opens a transaction before an INSERT and not before a SAVEPOINT, whose release would commit.
        connection.execute(f"BEGIN {connection.isolation_level}")
    connection.execute("SAVEPOINT prismq")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back everything by itself
            connection.execute("ROLLBACK TO prismq")
            connection.execute("RELEASE prismq")
        raise
    connection.execute("RELEASE prismq")


# The transaction that the running code is inside of: coroutines share their thread's connection, but not this.
_inside: ContextVar[object] = ContextVar("prismq_inside_transaction", default=None)


class QueueDatabase:
    """The SQLite database of a queue. Safe to share between threads and across a fork.

    `db_path`: a path, `:memory:`, or None for `PRISMQ_QUEUE_DB_PATH` or the default path. `durability`:
    "normal" survives a crash of the process, "full" also power loss (an fsync for every commit).
    `busy_timeout_s`: how long to wait for another program's lock before QueueBusyError. `adopt`: allow
    initialize_schema() to add the queue's tables to a file that holds tables of another program.

    The file is opened at the first use, not here. Raises QueueDatabaseError where it cannot be.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "normal",
        busy_timeout_s: float | None = None,
        adopt: bool = False,
    ) -> None:
        if db_path is None:
            from prismq.config import resolve_database

            db_path = resolve_database(None).require_path()
        busy_ms = int(PRAGMAS["busy_timeout"]) if busy_timeout_s is None else int(busy_timeout_s * 1000)
        self._opening = Opening(Path(db_path), durability, busy_ms, adopt)
        self.db_path = self._opening.path
        self.durability: Durability = durability
        self.adopt = adopt
        self._connections = Connections(self._opening.connect, is_shared=self._opening.in_memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"QueueDatabase({str(self.db_path)!r})"

    # -- connections

    def get_connection(self) -> sqlite3.Connection:
        """This thread's connection: `sqlite3.Row` rows, autocommit outside `transaction()`."""
        return self._connections.get()

    def connection_counts(self) -> tuple[int, int]:
        """How many connections of this process are inside a transaction, and how many there are."""
        return self._connections.counts()

    def interrupt(self, thread_id: int) -> None:
        """Break off what that thread's connection does: its statement raises QueueBusyError."""
        self._connections.interrupt(thread_id)

    @property
    def meter(self) -> Meter | None:
        """What connections opened from then on tell what they do."""
        return self._opening.meter

    @meter.setter
    def meter(self, meter: Meter | None) -> None:
        self._opening.meter = meter

    def close(self) -> None:
        """Close every connection of this process; one that another thread is just using, when that thread is done.

        The object can be used again; it then opens anew.
        """
        self._connections.close()

    # -- statements

    def execute(self, sql: str, params: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement; outside `transaction()` it is its own transaction.

        Raises QueueBusyError or QueueDatabaseError.
        """
        try:
            connection = self.get_connection()
            if self.in_transaction or sql.lstrip()[:6].upper() == "SELECT":
                return connection.execute(sql, params)
            self.refuse_strangers()
            with self._connections.writer:
                return self._patiently(connection, sql, params, self._opening.busy_ms / 1000)
        except sqlite3.Error as error:
            raise translate(error, str(self.db_path)) from error

    @contextmanager
    def lenient_text(self) -> Iterator[None]:
        """Inside the block, this thread reads text that is not UTF-8 with U+FFFD in its place, instead of failing."""
        connection = self.get_connection()
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            yield
        finally:
            connection.text_factory = str

    def execute_read(self, sql: str, params: Parameters = ()) -> sqlite3.Row:
        """The first row of a statement that only reads, without queueing up with the writers."""
        with translated(str(self.db_path)):
            row: sqlite3.Row = self.get_connection().execute(sql, params).fetchone()
        return row

    def execute_many(self, sql: str, param_list: Iterable[Parameters]) -> None:
        """Run one statement for each set of parameters, all in one transaction."""
        with self.transaction() as connection:
            connection.executemany(sql, param_list)

    @contextmanager
    def transaction(
        self, *, keep_integrity_errors: bool = False, wait_s: float | None = None
    ) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE; commits at the end, rolls back on any exception. Nested, it is a
        savepoint of the outer one.

        Raises QueueBusyError or QueueDatabaseError for SQLite's errors; `keep_integrity_errors` lets
        sqlite3.IntegrityError through for a caller that knows what to do. `wait_s`: how long to wait for the lock of
        another process, instead of `busy_timeout_s`. IMMEDIATE, because a transaction that
        reads first and then writes meets SQLITE_BUSY at once when another has written between: the busy timeout
        does not apply to it.
        """
        connection = self.get_connection()
        local = self._connections.local
        if local.depth:
            self.refuse_strangers()
            local.depth += 1
            try:
                with translated(str(self.db_path)), savepoint(connection):
                    yield connection
            finally:
                local.depth -= 1
            return
        with self._connections.writer:
            theirs = connection.in_transaction  # begun by hand on this connection: not ours to end
            with translated(str(self.db_path)):
                try:
                    timeout_s = self._opening.busy_ms / 1000 if wait_s is None else wait_s
                    self._patiently(connection, "BEGIN IMMEDIATE", (), timeout_s)
                except BaseException:  # it may have begun before the interrupt, or the error, came
                    if not theirs:
                        self._roll_back(connection)
                    raise
            owner = object()
            token = _inside.set(owner)
            meter = self.meter
            began = 0.0 if meter is None else SYSTEM_CLOCK.monotonic()
            committed = False
            try:
                local.depth, local.owner = 1, owner
                yield connection
                connection.execute("COMMIT")
                committed = True
            except BaseException as error:
                self._roll_back(connection)
                if isinstance(error, sqlite3.IntegrityError) and keep_integrity_errors:
                    raise
                if isinstance(error, sqlite3.Error):
                    raise translate(error, str(self.db_path)) from error
                raise
            finally:
                local.depth, local.owner = 0, None
                _inside.reset(token)
                if meter is not None:
                    meter.transaction(SYSTEM_CLOCK.monotonic() - began, committed=committed)

    def _patiently(
        self, connection: sqlite3.Connection, sql: str, params: Parameters, timeout_s: float
    ) -> sqlite3.Cursor:
        # SQLite's own wait sleeps 1, 2, 5, 10 … 100 ms; a transaction of ours takes some 3, so it would mostly
        # sleep while the lock is free. Hence shorter sleeps, up to the same timeout.
        began = SYSTEM_CLOCK.monotonic()
        deadline = began + timeout_s
        nothing, wait_s = threading.Event(), _LOCK_WAIT_MIN_S
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    return connection.execute(sql, params)
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or SYSTEM_CLOCK.monotonic() >= deadline:
                        if self.meter is not None and "locked" in str(error):
                            self.meter.busy()
                        raise
                SYSTEM_CLOCK.wait(nothing, wait_s)
                wait_s = min(wait_s * 1.2, _LOCK_WAIT_MAX_S)
        finally:
            with suppress(sqlite3.Error):  # what is done is done; and who comes next waits here, too
                connection.execute(f"PRAGMA busy_timeout = {self._opening.busy_ms}")
            if self.meter is not None:
                self.meter.waited(SYSTEM_CLOCK.monotonic() - began)

    @staticmethod
    def _roll_back(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself (full disk, I/O error)
                return

    @property
    def in_transaction(self) -> bool:
        """Whether the running code is inside `transaction()`."""
        local = self._connections.local
        return local.depth > 0 and _inside.get() is local.owner

    def refuse_strangers(self) -> None:
        """Raise QueueDatabaseError where another coroutine of this thread has a transaction open on its connection.

        What is written now would be committed, or rolled back, with hers.
        """
        if self._connections.local.depth > 0 and not self.in_transaction:
            raise QueueDatabaseError(
                "another coroutine of this thread is inside transaction(), so nothing was written: it would share that "
                "transaction's fate. Do not await inside transaction(), or use `await task.aenqueue(...)`, which waits"
            )

    @property
    def writer(self) -> threading.RLock:
        """The lock that threads of this process queue up at before they write."""
        return self._connections.writer

    # -- schema

    def initialize_schema(self) -> None:
        """Create the tables, or upgrade them. Safe when several processes do it at once.

        Raises QueueSchemaError where the file belongs to something else, or to a newer prismq.
        """
        from prismq.storage.sqlite.schema import migrate

        migrate(self)

    def require_schema(self) -> None:
        """Raise QueueSchemaError unless the file holds the schema of this version."""
        from prismq.storage.sqlite.schema import pending

        waiting = pending(self)
        if waiting:
            raise QueueSchemaError(
                f"{self.db_path} has no queue, or an older one (missing migrations: {', '.join(map(str, waiting))}). "
                f"Run `prismq init` for a new queue or `prismq migrate` for an old one"
            )
