"""The file and its connections: one a thread, one writer a process at a time."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from typing_extensions import Self

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError, QueueSchemaError
from prismq.domain.sketch import merge_json
from prismq.storage.measuring import Meter
from prismq.storage.sqlite.errors import translate, translated
from prismq.storage.sqlite.location import check_location
from prismq.storage.sqlite.measured import measured
from prismq.storage.sqlite.pragmas import PRAGMAS, SQLITE_VERSION_MIN, Durability

Parameters = Sequence[Any] | Mapping[str, Any]

_LOCK_WAIT_MIN_S, _LOCK_WAIT_MAX_S = 0.0003, 0.01  # between two tries for the writer's lock

# Connections inherited through fork: using or closing them in the child would break the parent's locks,
# so they are kept from the garbage collector.
_inherited: list[Any] = []


def equip(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that our statements call."""
    connection.create_function("prismq_merge_bins", 2, merge_json, deterministic=True)


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


class _Held:
    """A connection as long as its thread lives: when the thread ends, this goes, and the connection is closed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()
        self.thread_id = threading.get_ident()
        weakref.finalize(self, _close, connection, self.pid)


def _close(connection: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        connection.close()
    else:
        _inherited.append(connection)


def _uses_the_store(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("prismq.storage.sqlite"):
            return True
        frame = frame.f_back
    return False


def _is_active(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:  # its thread has just ended, and closed it
        return False


# The transaction that the running code is inside of: coroutines share their thread's connection, but not this.
_inside: ContextVar[object] = ContextVar("prismq_inside_transaction", default=None)


class _Local(threading.local):
    owner: object = None  # of the open transaction; equal to _inside for those who are inside
    held: _Held | None = None
    connection: sqlite3.Connection | None = None
    depth: int = 0  # of nested transactions on this thread's connection


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
        self.db_path: Path = Path(db_path)
        self.durability: Durability = durability
        self.adopt = adopt
        self._busy_ms = int(PRAGMAS["busy_timeout"]) if busy_timeout_s is None else int(busy_timeout_s * 1000)
        self._in_memory = str(db_path) == ":memory:"
        self._local = _Local()
        self._shared: _Held | None = None  # the one connection of an in-memory database
        self._opened: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._outliving: list[_Held] = []  # closed, but for a thread that was inside of a statement
        self._pid = os.getpid()
        self._guard = threading.Lock()
        # Threads of one process queue up here: SQLite's own wait is a sleep that favours nobody.
        self._writer = threading.RLock()
        self._checked = False
        self.meter: Meter | None = None  # what connections opened from then on tell what they do

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"QueueDatabase({str(self.db_path)!r})"

    # -- connections

    def get_connection(self) -> sqlite3.Connection:
        """This thread's connection: `sqlite3.Row` rows, autocommit outside `transaction()`."""
        if self._pid != os.getpid():
            self._leave_parent()
        return self._local.connection or self._open()

    def _open(self) -> sqlite3.Connection:
        with self._guard:
            if self._outliving:
                outliving, self._outliving = self._outliving, []
                self._let_go(outliving)
            held = self._shared
            if held is None:
                held = _Held(self._connect())
                self._opened.add(held)
                if self._in_memory:
                    self._shared = held
        local = self._local
        local.held, local.connection, local.depth = held, held.connection, 0
        return held.connection

    def _leave_parent(self) -> None:
        # This is the one thread that lives on in the child: whatever lock another held will never be released.
        _inherited.extend([*self._opened, *self._outliving])
        self._opened, self._shared, self._local = weakref.WeakSet(), None, _Local()
        self._outliving = []
        self._guard, self._writer = threading.Lock(), threading.RLock()
        self._pid = os.getpid()

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            needed = ".".join(map(str, SQLITE_VERSION_MIN))
            raise QueueDatabaseError(f"this Python has SQLite {sqlite3.sqlite_version}; prismq needs {needed} or later")
        if not self._checked and not self._in_memory:
            check_location(self.db_path)
            self._checked = True
        path = str(self.db_path)
        with translated(path):
            connection = sqlite3.connect(
                path,
                isolation_level=None,
                check_same_thread=False,
                factory=sqlite3.Connection if self.meter is None else measured(self.meter),
                timeout=self._busy_ms / 1000,
                cached_statements=256,
            )
        try:
            with translated(path):
                connection.row_factory = sqlite3.Row
                if not self.adopt:
                    self._refuse_foreign(connection)
                self._switch_to_wal(connection)
                for name, value in PRAGMAS.items():
                    if name == "busy_timeout":
                        value = self._busy_ms
                    if name == "synchronous" and self.durability == "full":
                        value = "FULL"
                    connection.execute(f"PRAGMA {name} = {value}")
                equip(connection)
        except QueueDatabaseError:
            connection.close()
            raise
        return connection

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Before anything is changed: another program's file must stay as it is."""
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        names = [name for (name,) in rows]
        if names and "task_queue" not in names:
            raise QueueSchemaError(
                f"{self.db_path} is a SQLite database of another program (tables: {', '.join(names[:5])}) and holds no "
                f"queue. Give another path, or, to keep the queue in that file beside your own tables, run "
                f"`prismq init --adopt` or open it once with PrismQ(path, adopt=True)"
            )

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        # The switch of a new file needs it for itself, and SQLite does not wait for that by itself.
        deadline = SYSTEM_CLOCK.monotonic() + self._busy_ms / 1000
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or SYSTEM_CLOCK.monotonic() > deadline:
                    raise
                SYSTEM_CLOCK.wait(threading.Event(), 0.01)

    def connection_counts(self) -> tuple[int, int]:
        """How many connections of this process are inside a transaction, and how many there are."""
        with self._guard:
            opened = [held.connection for held in self._opened if held.pid == os.getpid()]
        return sum(map(_is_active, opened)), len(opened)

    def interrupt(self, thread_id: int) -> None:
        """Break off what that thread's connection does: its statement raises QueueBusyError."""
        with self._guard:
            theirs = [held.connection for held in self._opened if held.thread_id == thread_id]
            for connection in theirs:
                # Closed, as its thread has just ended: then there is nothing to break off.
                with suppress(sqlite3.ProgrammingError):
                    connection.interrupt()

    def close(self) -> None:
        """Close every connection of this process; one that another thread is just using, when that thread is done.

        The object can be used again; it then opens anew.
        """
        if self._pid != os.getpid():
            self._leave_parent()
        with self._guard:
            opened = [*self._opened, *self._outliving]
            self._opened, self._shared, self._local = weakref.WeakSet(), None, _Local()
            self._outliving = []
        self._let_go(opened)

    def _let_go(self, opened: list[_Held]) -> None:
        """Close these. A statement that another thread is inside of must keep its connection, or Python would crash."""
        frames = sys._current_frames()
        at_work = {thread_id for thread_id, frame in frames.items() if _uses_the_store(frame)} - {threading.get_ident()}
        for held in opened:
            if held.thread_id in at_work or (self._in_memory and at_work):
                self._outliving.append(held)
            else:
                held.connection.close()

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
            with self._writer:
                return connection.execute(sql, params)
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
        local = self._local
        if local.depth:
            self.refuse_strangers()
            local.depth += 1
            try:
                with translated(str(self.db_path)), savepoint(connection):
                    yield connection
            finally:
                local.depth -= 1
            return
        with self._writer:
            theirs = connection.in_transaction  # begun by hand on this connection: not ours to end
            with translated(str(self.db_path)):
                try:
                    self._begin(connection, self._busy_ms / 1000 if wait_s is None else wait_s)
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

    def _begin(self, connection: sqlite3.Connection, timeout_s: float) -> None:
        # SQLite's own wait sleeps 1, 2, 5, 10 … 100 ms; a transaction of ours takes some 3, so it would mostly
        # sleep while the lock is free. Hence shorter sleeps, up to the same timeout.
        began = SYSTEM_CLOCK.monotonic()
        deadline = began + timeout_s
        nothing, wait_s = threading.Event(), _LOCK_WAIT_MIN_S
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or SYSTEM_CLOCK.monotonic() >= deadline:
                        if self.meter is not None and "locked" in str(error):
                            self.meter.busy()
                        raise
                SYSTEM_CLOCK.wait(nothing, wait_s)
                wait_s = min(wait_s * 1.2, _LOCK_WAIT_MAX_S)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
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
        local = self._local
        return self._pid == os.getpid() and local.depth > 0 and _inside.get() is local.owner

    def refuse_strangers(self) -> None:
        """Raise QueueDatabaseError where another coroutine of this thread has a transaction open on its connection.

        What is written now would be committed, or rolled back, with hers.
        """
        if self._local.depth > 0 and not self.in_transaction:
            raise QueueDatabaseError(
                "another coroutine of this thread is inside transaction(), so nothing was written: it would share that "
                "transaction's fate. Do not await inside transaction(), or use `await task.aenqueue(...)`, which waits"
            )

    @property
    def writer(self) -> threading.RLock:
        """The lock that threads of this process queue up at before they write."""
        if self._pid != os.getpid():
            self._leave_parent()
        return self._writer

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
