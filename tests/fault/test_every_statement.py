"""Fail the n-th statement of every operation, for n = 1, 2, 3 … until it passes: all of it happens, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import psycopg
import pytest

from prismq.domain.errors import LeaseLost, QueueDatabaseError
from prismq.domain.status import TaskStatus
from prismq.domain.task import NewTask, TaskFilter
from prismq.domain.worker import WorkerCommand
from prismq.storage.contract import Batch, Progress, Retention, Schedule, Store
from prismq.storage.postgres.connection import Connection
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.store import SqliteStore
from tests.helpers.builders import (
    AN_ERROR,
    LEASE_S,
    a_line,
    a_report,
    a_request,
    a_task,
    a_worker,
    claim,
    settlement,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import PostgresEngine, postgres_engine
from tests.helpers.processes import wait_until

MANY = 400  # statements that no operation needs
S = TaskStatus


class Fuse:
    """Counts statements, of every connection, and breaks the n-th."""

    def __init__(self) -> None:
        self.left = 0
        self.fault = ""
        self.blown = False

    def set(self, number: int, fault: str) -> None:
        self.left, self.fault, self.blown = number, fault, False

    def breaks(self, sql: str) -> bool:
        """Whether this is the statement."""
        if self.left <= 0 or sql.lstrip().upper().startswith("ROLLBACK"):
            return False
        self.left -= 1
        self.blown = self.left == 0
        return self.blown

    def remove(self) -> None:
        self.left = 0


class Bench(Protocol):
    """A place to break things in, and what is looked at afterwards."""

    faults: ClassVar[tuple[str, ...]]

    def fresh(self) -> Store:
        """A store over an empty, prepared place."""
        ...

    def dump(self) -> list[tuple[Any, ...]]:
        """Everything in it but the last id given out: a key that exists takes one, and nothing else."""
        ...

    def look(self, sql: str) -> list[tuple[Any, ...]]: ...

    def by_hand(self, sql: str) -> None:
        """A statement that the fuse counts, too."""
        ...

    def check_place(self) -> None:
        """Nothing is left open, and the database finds itself in order."""
        ...


class FusedConnection(sqlite3.Connection):
    """A connection whose statements pass the fuse first, COMMIT included."""

    fuse: Fuse

    def _pass(self, sql: str) -> None:
        if self.fuse.breaks(sql):
            raise sqlite3.OperationalError(SqliteBench.messages[self.fuse.fault])

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._pass(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._pass(sql)
        return super().executemany(sql, *args)


class SqliteBench:
    """A file each time; SQLite's own errors, raised in its place."""

    messages: ClassVar = {
        "busy": "database is locked",
        "disk full": "database or disk is full",
        "I/O": "disk I/O error",
    }
    faults = tuple(messages)

    def __init__(self, folder: Path, fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = folder / "queue.db"
        self._store: SqliteStore | None = None
        real = sqlite3.connect

        class Connection(FusedConnection):
            pass

        Connection.fuse = fuse
        monkeypatch.setattr(
            sqlite3, "connect", lambda *args, **kwargs: real(*args, **{**kwargs, "factory": Connection})
        )

    @property
    def _execute(self) -> Callable[..., sqlite3.Cursor]:
        assert self._store is not None
        return self._store.database.get_connection().execute

    def unprepared(self) -> SqliteStore:
        self.close()
        for left in self._path.parent.glob("queue.db*"):
            left.unlink()
        self._store = SqliteStore(QueueDatabase(self._path, busy_timeout_s=0))
        return self._store

    def fresh(self) -> SqliteStore:
        """See Bench.fresh."""
        store = self.unprepared()
        store.prepare()
        return store

    def dump(self) -> list[tuple[Any, ...]]:
        """See Bench.dump."""
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'"
        return [(name, *row) for (name,) in self.look(names) for row in self.look(f'SELECT * FROM "{name}"')]

    def look(self, sql: str) -> list[tuple[Any, ...]]:
        """See Bench.look."""
        return [tuple(row) for row in self._execute(sql).fetchall()]

    def by_hand(self, sql: str) -> None:
        """See Bench.by_hand."""
        assert self._store is not None
        self._store.database.execute(sql)

    def check_place(self) -> None:
        """See Bench.check_place."""
        assert self._store is not None
        assert not self._store.database.get_connection().in_transaction, "a transaction was left open"
        assert not self._store.database.in_transaction
        assert self.look("PRAGMA integrity_check") == [("ok",)]
        assert self.look("PRAGMA foreign_key_check") == []

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


class PostgresBench:
    """One database, emptied each time. The server itself raises the error, or ends the session, in the statement's
    place: so the n-th of a pipeline breaks as it does in life.
    """

    instead: ClassVar = {
        "disk full": "DO $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$",
        "session ended": "SELECT pg_terminate_backend(pg_backend_pid())",
        "deadlock": "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$",
    }
    faults = tuple(instead)

    def __init__(self, folder: Path, fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
        self._context = postgres_engine(folder)
        self._engine = cast(PostgresEngine, self._context.__enter__())
        self._tables = [
            name
            for (name,) in self.look("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            if name != "prismq_migrations"
        ]
        execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy

        def fused(cursor: Any, sql: Any, params: Any = None, **options: Any) -> Any:
            text = sql.decode() if isinstance(sql, bytes) else str(sql)
            if isinstance(cursor.connection, Connection) and fuse.breaks(text):
                return execute(cursor, self.instead[fuse.fault], None, prepare=False)
            return execute(cursor, sql, params, **options)

        def fused_copy(cursor: Any, sql: Any, *args: Any, **options: Any) -> Any:
            if isinstance(cursor.connection, Connection) and fuse.breaks(str(sql)):
                execute(cursor, self.instead[fuse.fault], None, prepare=False)
            return copy(cursor, sql, *args, **options)

        monkeypatch.setattr(psycopg.Cursor, "execute", fused)
        monkeypatch.setattr(psycopg.Cursor, "copy", fused_copy)

    def fresh(self) -> PostgresStore:
        """See Bench.fresh."""
        self._engine.hand(f"TRUNCATE {', '.join(self._tables)} RESTART IDENTITY CASCADE")
        self._engine.store.prepare()
        return self._engine.store

    def dump(self) -> list[tuple[Any, ...]]:
        """See Bench.dump."""
        return [
            (name, *row) for name in self._tables for row in self.look(f"SELECT * FROM {name} ORDER BY {name}::text")
        ]

    def look(self, sql: str) -> list[tuple[Any, ...]]:
        """See Bench.look."""
        return self._engine.look(sql)

    def by_hand(self, sql: str) -> None:
        """See Bench.by_hand."""
        with self._engine.store.database.reading() as connection:
            connection.execute(sql)

    def check_place(self) -> None:
        """See Bench.check_place."""
        assert not self._engine.store.database.in_transaction
        in_use, _ = self._engine.store.database.connection_counts()
        assert in_use == 0, "a connection was not given back"
        left = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        locks = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        # A connection that is thrown away ends at the server a moment later.
        wait_until(lambda: not self.look(left), "no transaction is left open")
        wait_until(lambda: not self.look(locks), "no lock is left held")

    @property
    def url(self) -> str:
        """Where it is."""
        return self._engine.url

    def close(self) -> None:
        self._context.__exit__(None, None, None)


BENCHES = {"sqlite": SqliteBench, "postgres": PostgresBench}


@pytest.fixture
def fuse() -> Fuse:
    return Fuse()


@pytest.fixture(params=list(BENCHES))
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, fuse: Fuse, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    bench = BENCHES[request.param](tmp_path, fuse, monkeypatch)
    yield bench
    bench.close()


def _check(bench: Bench, store: Store) -> None:
    bench.check_place()
    assert store.insight.depth() == store.insight.recount()
    # A task that its own transaction completed shows a lease until its function has returned.
    leased = "status IN ('claimed', 'processing')"
    wrong = f"({leased} AND lease_until_utc IS NULL)"
    wrong += f" OR (lease_until_utc IS NOT NULL AND NOT {leased} AND status <> 'completed')"
    assert bench.look(f"SELECT id FROM task_queue WHERE {wrong}") == []


Operation = Callable[[], Any]
Prepare = Callable[[Store, FakeClock, Bench], Operation]


def _enqueue(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    return lambda: store.inbox.enqueue(a_task(), clock.now())


def _enqueue_keyed(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
    return lambda: store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())


def _enqueue_unique(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    return lambda: store.inbox.enqueue(a_task(unique_key="u", unique_for_s=60, unique_pending=True), clock.now())


def _enqueue_many(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    return lambda: store.inbox.enqueue_many([a_task(priority=n) for n in range(20)], clock.now())


def _enqueue_many_keyed(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    news = [a_task(idempotency_key=f"k{n % 3}", unique_key=f"u{n % 2}" if n % 2 else None) for n in range(6)]
    return lambda: store.inbox.enqueue_many(news, clock.now())


def _transaction(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    def operation() -> None:
        with store.inbox.transaction() as connection:
            connection.execute("UPDATE queues SET max_running = 3")
            for n in range(3):
                store.inbox.enqueue(a_task(unique_key=f"u{n}", unique_for_s=9), clock.now())

    store.queues.limit("default", 5)
    return operation


def _exchange(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    """Every kind of end at once, logs, progress, and a claim of new, delayed and hand-made rows."""
    store.inbox.enqueue_many([a_task(max_attempts=2) for _ in range(9)], clock.now())
    leases = claim(store, clock, limit=9)
    started = leases[7]
    store.work.exchange(Batch(settlements=[settlement(started, S.PROCESSING, clock.now())]), None, clock.now())
    stolen = leases[8]
    store.upkeep.expire_leases(clock.now(), dead_workers=["nobody"])
    store.inbox.enqueue(a_task(run_at=clock.now() + 5), clock.now())
    bench.by_hand("INSERT INTO task_queue (type, payload) VALUES ('job', '{}')")
    clock.advance(10)
    now = clock.now()
    batch = Batch(
        settlements=[
            settlement(leases[0], S.COMPLETED, now, result="1"),
            settlement(leases[1], S.SCHEDULED, now, run_after=now + 5, error=AN_ERROR),
            settlement(leases[2], S.SCHEDULED, now, run_after=now + 5, counts=False, reason="snoozed"),
            settlement(leases[3], S.DEAD_LETTER, now, error=AN_ERROR),
            settlement(leases[4], S.FAILED, now, error=AN_ERROR),
            settlement(leases[5], S.QUEUED, now, counts=False, reason="given back"),
            settlement(leases[6], S.PROCESSING, now),
            settlement(started, S.COMPLETED, now, was=S.PROCESSING),
        ],
        logs=[a_line(leases[0], "a line", clock)],
        progress={leases[6].task_id: Progress(*leases[6][:2], '{"done": 1}')},
    )
    assert stolen
    return lambda: store.work.exchange(batch, a_request("w2", limit=3), now)


def _exchange_carefully(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    """One lease is lost and one task is asked to stop: row by row."""
    store.inbox.enqueue_many([a_task() for _ in range(4)], clock.now())
    leases = claim(store, clock, limit=4)
    store.upkeep.expire_leases(clock.now() + LEASE_S + 1)
    again = claim(store, clock, "w2", limit=3)
    store.tasks.cancel(TaskFilter(ids=(again[1].task_id,)), clock.now())
    now = clock.now()
    batch = Batch(
        settlements=[
            settlement(leases[0], S.COMPLETED, now),
            settlement(again[0], S.COMPLETED, now),
            settlement(again[1], S.SCHEDULED, now, run_after=now + 5, error=AN_ERROR),
            settlement(again[2], S.DEAD_LETTER, now, error=AN_ERROR),
        ],
        logs=[a_line(again[0], "kept", clock)],
    )
    return lambda: store.work.exchange(batch, a_request("w3", limit=3), now)


def _complete_within(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.inbox.enqueue(a_task(), clock.now())
    [lease] = claim(store, clock)

    def operation() -> None:
        with store.work.own_transaction() as connection:
            connection.execute("INSERT INTO queues (queue) VALUES ('an effect')")
            store.work.complete_within(connection, settlement(lease, S.COMPLETED, clock.now()))

    return operation


def _held(store: Store, clock: FakeClock, bench: Bench) -> None:
    store.inbox.enqueue_many([a_task(max_attempts=1 + n % 2) for n in range(5)], clock.now())
    claim(store, clock, limit=4)


def _renew(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    _held(store, clock, bench)
    return lambda: store.work.renew(["w1"], LEASE_S * 2, clock.now())


def _expire(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    _held(store, clock, bench)
    clock.advance(LEASE_S + 1)
    return lambda: store.upkeep.expire_leases(clock.now())


def _ends(store: Store, clock: FakeClock, bench: Bench) -> None:
    _held(store, clock, bench)
    leases = claim(store, clock, "w2")
    ends = [settlement(lease, S.DEAD_LETTER, clock.now(), error=AN_ERROR) for lease in leases]
    store.work.exchange(Batch(settlements=ends), None, clock.now())
    store.inbox.enqueue(a_task(run_at=clock.now() + 60), clock.now())


def _act(name: str, *args: Any) -> Prepare:
    def prepare(store: Store, clock: FakeClock, bench: Bench) -> Operation:
        _ends(store, clock, bench)
        return lambda: getattr(store.tasks, name)(
            TaskFilter(type="job"), *args, *([] if name == "delete" else [clock.now()])
        )

    return prepare


def _fire(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    schedule = Schedule("tick", "* * * * *", "UTC", "latest", NewTask("tick"))
    store.schedules.declare(schedule, clock.now())
    return lambda: store.schedules.fire(schedule, clock.now() + 60, 2, clock.now() + 61)


def _declare(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    return lambda: store.schedules.declare(Schedule("tick", "* * * * *", "UTC", "latest", NewTask("tick")), clock.now())


def _prune(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    _ends(store, clock, bench)
    store.tasks.cancel(TaskFilter(type="job"), clock.now())
    clock.advance(100)
    return lambda: store.upkeep.prune(Retention(1, 1, 1, 1), clock.now())


def _fold(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    _ends(store, clock, bench)
    clock.advance(86_400 * 2)
    return lambda: store.upkeep.fold(clock.now())


def _book(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.inbox.enqueue_many([a_task() for _ in range(5)], clock.now())
    return lambda: store.upkeep.book(clock.now())


def _register(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    return lambda: store.workers.register(a_worker(), clock.now())


def _heartbeat(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.workers.register(a_worker(), clock.now())
    return lambda: store.workers.heartbeat(a_report(completed=3), clock.now())


def _commands(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    for command in (WorkerCommand.PAUSE, WorkerCommand.RESUME):
        store.workers.ask("w1", command, None, "ann", clock.now())
    return lambda: store.workers.take_commands("w1", clock.now())


def _forget(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.workers.register(a_worker(), clock.now())
    return lambda: store.workers.forget(clock.now() + 10)


def _take_back(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    _held(store, clock, bench)
    return lambda: store.upkeep.take_back(["w1"], clock.now(), reason="it is silent")


def _book_ends(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.inbox.enqueue_many([a_task() for _ in range(3)], clock.now())
    bench.by_hand(
        "INSERT INTO task_queue (type, payload, status, attempts, finished_at_utc)"
        " VALUES ('job', '{}', 'failed', 5, '2033-01-01 00:00:00')"
    )
    return lambda: store.upkeep.book(clock.now())


def _end_by_hand(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.inbox.enqueue_many([a_task() for _ in range(3)], clock.now())
    store.upkeep.book(clock.now())
    sql = "UPDATE task_queue SET status = 'completed', finished_at_utc = '2033-01-01 00:00:00', locked_by = 'w1'"
    return lambda: bench.by_hand(sql)


def _touch(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.workers.register(a_worker(), clock.now())
    return lambda: store.workers.touch("w1", clock.now() + 1, '{"cpu": 8}')


def _remove(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    store.workers.register(a_worker(), clock.now())
    store.workers.ask("w1", WorkerCommand.PAUSE, None, "ann", clock.now())
    return lambda: store.workers.remove("w1")


def _delete_logs(store: Store, clock: FakeClock, bench: Bench) -> Operation:
    _ends(store, clock, bench)
    store.tasks.cancel(TaskFilter(type="job"), clock.now())
    return lambda: store.logs.delete_before(clock.now() + 1)


OPERATIONS: dict[str, Prepare] = {
    "enqueue": _enqueue, "enqueue with a key": _enqueue_keyed, "enqueue unique": _enqueue_unique,
    "enqueue many": _enqueue_many, "enqueue many with keys": _enqueue_many_keyed, "transaction": _transaction,
    "exchange": _exchange, "exchange row by row": _exchange_carefully, "complete within": _complete_within,
    "renew": _renew, "expire": _expire, "cancel": _act("cancel"), "retry": _act("retry"), "run now": _act("run_now"),
    "reprioritise": _act("reprioritise", 7), "delete": _act("delete"), "fire": _fire, "declare": _declare,
    "prune": _prune, "fold": _fold, "book": _book, "register": _register, "heartbeat": _heartbeat,
    "take commands": _commands, "forget": _forget, "take back": _take_back, "book ends": _book_ends,
    "end by hand": _end_by_hand, "touch": _touch, "remove": _remove, "delete logs": _delete_logs,
}  # fmt: skip
# These work in pieces, a transaction each: a fault between two leaves whole pieces behind, never half of one.
IN_PIECES = {"cancel", "retry", "run now", "reprioritise", "delete", "prune", "fold", "forget", "delete logs"}


# A statement of the caller's own may meet the fault: the driver's error is then the caller's.
BY_THE_CALLER = {"complete within"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_at_any_statement_leaves_all_or_nothing_and_the_next_call_succeeds(
    bench: Bench, fuse: Fuse, name: str, which: int
) -> None:
    for number in range(1, MANY):
        clock = FakeClock()
        store = bench.fresh()
        operation = OPERATIONS[name](store, clock, bench)
        before = bench.dump()
        fuse.set(number, bench.faults[which])
        try:
            operation()
        except (QueueDatabaseError, psycopg.Error, sqlite3.Error) as error:
            if not isinstance(error, QueueDatabaseError) and name not in BY_THE_CALLER:
                raise
            assert fuse.blown
            fuse.remove()
            if name not in IN_PIECES:
                assert bench.dump() == before, f"statement {number} of {name} left something half done"
            _check(bench, store)
            operation()
        fuse.remove()
        _check(bench, store)
        if not fuse.blown:
            assert number > 1
            return
    raise AssertionError(f"{name} takes more than {MANY} statements")


@pytest.mark.parametrize("fault", SqliteBench.faults)
def test_a_fault_at_any_statement_of_a_migration_leaves_an_empty_file_or_a_whole_queue(
    tmp_path: Path, fuse: Fuse, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = SqliteBench(tmp_path, fuse, monkeypatch)
    for number in range(1, MANY):
        store = bench.unprepared()
        fuse.set(number, fault)
        failed = False
        try:
            store.prepare()
        except QueueDatabaseError:
            failed = True
        blown = fuse.blown
        fuse.remove()
        assert failed == blown or not failed
        if failed:
            tables = store.database.get_connection().execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            assert tables == 0 or store.initialise() == []
        store.prepare()
        store.check()
        store.inbox.enqueue(a_task(), 2_000_000_000.0)
        _check(bench, store)
        if not blown:
            bench.close()
            return
    raise AssertionError("a migration without an end")


@pytest.mark.parametrize("fault", PostgresBench.faults)
def test_a_fault_at_any_statement_of_a_migration_leaves_an_empty_schema_or_a_whole_queue(
    tmp_path: Path, fuse: Fuse, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = PostgresBench(tmp_path, fuse, monkeypatch)
    try:
        for number in range(1, MANY):
            schema = f"queue_{number}"
            store = PostgresStore(PostgresDatabase(bench.url, schema=schema, server_clock=False))
            fuse.set(number, fault)
            try:
                store.prepare()
            except QueueDatabaseError:
                assert fuse.blown
                fuse.remove()
                there = bench.look(f"SELECT 1 FROM pg_namespace WHERE nspname = '{schema}'")
                assert there == [] or store.initialise() == []
            blown = fuse.blown
            fuse.remove()
            store.prepare()
            store.check()
            store.inbox.enqueue(a_task(), 2_000_000_000.0)
            assert store.insight.depth() == store.insight.recount()
            store.close()
            bench.look(f"SELECT count(*) FROM {schema}.task_queue")
            if not blown:
                return
        raise AssertionError("a migration without an end")
    finally:
        bench.close()


def test_a_lease_that_was_lost_is_told_of_even_where_a_statement_failed_before(
    bench: Bench, fuse: Fuse, clock: FakeClock
) -> None:
    store = bench.fresh()
    operation = _complete_within(store, clock, bench)
    store.upkeep.expire_leases(clock.now() + LEASE_S + 1)
    fuse.set(4, bench.faults[0])
    with pytest.raises(QueueDatabaseError):
        operation()
    fuse.remove()
    with pytest.raises(LeaseLost):
        operation()
    assert bench.look("SELECT count(*) FROM queues") == [(0,)]
    _check(bench, store)
