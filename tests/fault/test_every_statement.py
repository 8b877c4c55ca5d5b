"""Fail the n-th statement of every operation, for n = 1, 2, 3 … until it passes: all of it happens, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prismq.domain.errors import LeaseLost, QueueDatabaseError
from prismq.domain.status import TaskStatus
from prismq.domain.task import NewTask, TaskFilter
from prismq.domain.worker import WorkerCommand
from prismq.storage.contract import Batch, Progress, Retention, Schedule
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

FAULTS = {"busy": "database is locked", "disk full": "database or disk is full", "I/O": "disk I/O error"}
MANY = 400  # statements that no operation needs
S = TaskStatus


class Fuse:
    """Counts statements and breaks the n-th."""

    def __init__(self) -> None:
        self.left = 0
        self.message = ""
        self.blown = False

    def set(self, number: int, message: str) -> None:
        self.left, self.message, self.blown = number, message, False

    def statement(self, sql: str) -> None:
        if self.left <= 0 or sql.lstrip().upper().startswith("ROLLBACK"):
            return
        self.left -= 1
        if self.left == 0:
            self.blown = True
            raise sqlite3.OperationalError(self.message)

    def remove(self) -> None:
        self.left = 0


class FusedConnection(sqlite3.Connection):
    """A connection whose statements pass the fuse first, COMMIT included."""

    fuse: Fuse

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.fuse.statement(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.fuse.statement(sql)
        return super().executemany(sql, *args)


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    """Every connection that is opened from here on has it."""
    fuse = Fuse()
    real = sqlite3.connect

    class Connection(FusedConnection):
        pass

    Connection.fuse = fuse
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: real(*args, **{**kwargs, "factory": Connection}))
    return fuse


@pytest.fixture
def store(tmp_path: Path, fuse: Fuse) -> Iterator[SqliteStore]:
    store = SqliteStore(QueueDatabase(tmp_path / "queue.db", busy_timeout_s=0))
    store.prepare()
    yield store
    store.close()


def _dump(store: SqliteStore) -> list[tuple[Any, ...]]:
    """Everything in the file but the last id given out: a key that exists takes one, and nothing else."""
    execute = store.database.get_connection().execute
    tables = [
        row[0] for row in execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'")
    ]
    return [(table, *row) for table in tables for row in execute(f'SELECT * FROM "{table}"').fetchall()]


def _check(store: SqliteStore) -> None:
    connection = store.database.get_connection()
    assert not connection.in_transaction, "a transaction was left open"
    assert not store.database.in_transaction
    assert store.insight.depth() == store.insight.recount()
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    # A task that its own transaction completed shows a lease until its function has returned.
    leased = "status IN ('claimed', 'processing')"
    wrong = f"({leased} AND lease_until_utc IS NULL)"
    wrong += f" OR (lease_until_utc IS NOT NULL AND NOT {leased} AND status <> 'completed')"
    assert connection.execute(f"SELECT id FROM task_queue WHERE {wrong}").fetchall() == []


Operation = Callable[[], Any]
Prepare = Callable[[SqliteStore, FakeClock], Operation]


def _enqueue(store: SqliteStore, clock: FakeClock) -> Operation:
    return lambda: store.inbox.enqueue(a_task(), clock.now())


def _enqueue_keyed(store: SqliteStore, clock: FakeClock) -> Operation:
    store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
    return lambda: store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())


def _enqueue_unique(store: SqliteStore, clock: FakeClock) -> Operation:
    return lambda: store.inbox.enqueue(a_task(unique_key="u", unique_for_s=60, unique_pending=True), clock.now())


def _enqueue_many(store: SqliteStore, clock: FakeClock) -> Operation:
    return lambda: store.inbox.enqueue_many([a_task(priority=n) for n in range(20)], clock.now())


def _enqueue_many_keyed(store: SqliteStore, clock: FakeClock) -> Operation:
    news = [a_task(idempotency_key=f"k{n % 3}", unique_key=f"u{n % 2}" if n % 2 else None) for n in range(6)]
    return lambda: store.inbox.enqueue_many(news, clock.now())


def _transaction(store: SqliteStore, clock: FakeClock) -> Operation:
    def operation() -> None:
        with store.inbox.transaction() as connection:
            connection.execute("UPDATE queues SET max_running = 3")
            for n in range(3):
                store.inbox.enqueue(a_task(unique_key=f"u{n}", unique_for_s=9), clock.now())

    store.queues.limit("default", 5)
    return operation


def _exchange(store: SqliteStore, clock: FakeClock) -> Operation:
    """Every kind of end at once, logs, progress, and a claim of new, delayed and hand-made rows."""
    store.inbox.enqueue_many([a_task(max_attempts=2) for _ in range(9)], clock.now())
    leases = claim(store, clock, limit=9)
    started = leases[7]
    store.work.exchange(Batch(settlements=[settlement(started, S.PROCESSING, clock.now())]), None, clock.now())
    stolen = leases[8]
    store.upkeep.expire_leases(clock.now(), dead_workers=["nobody"])
    store.inbox.enqueue(a_task(run_at=clock.now() + 5), clock.now())
    store.database.execute("INSERT INTO task_queue (type, payload) VALUES ('job', '{}')")
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


def _exchange_carefully(store: SqliteStore, clock: FakeClock) -> Operation:
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


def _complete_within(store: SqliteStore, clock: FakeClock) -> Operation:
    store.inbox.enqueue(a_task(), clock.now())
    [lease] = claim(store, clock)

    def operation() -> None:
        with store.work.own_transaction() as connection:
            connection.execute("INSERT INTO queues (queue) VALUES ('an effect')")
            store.work.complete_within(connection, settlement(lease, S.COMPLETED, clock.now()))

    return operation


def _held(store: SqliteStore, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(max_attempts=1 + n % 2) for n in range(5)], clock.now())
    claim(store, clock, limit=4)


def _renew(store: SqliteStore, clock: FakeClock) -> Operation:
    _held(store, clock)
    return lambda: store.work.renew(["w1"], LEASE_S * 2, clock.now())


def _expire(store: SqliteStore, clock: FakeClock) -> Operation:
    _held(store, clock)
    clock.advance(LEASE_S + 1)
    return lambda: store.upkeep.expire_leases(clock.now())


def _ends(store: SqliteStore, clock: FakeClock) -> None:
    _held(store, clock)
    leases = claim(store, clock, "w2")
    ends = [settlement(lease, S.DEAD_LETTER, clock.now(), error=AN_ERROR) for lease in leases]
    store.work.exchange(Batch(settlements=ends), None, clock.now())
    store.inbox.enqueue(a_task(run_at=clock.now() + 60), clock.now())


def _act(name: str, *args: Any) -> Prepare:
    def prepare(store: SqliteStore, clock: FakeClock) -> Operation:
        _ends(store, clock)
        return lambda: getattr(store.tasks, name)(
            TaskFilter(type="job"), *args, *([] if name == "delete" else [clock.now()])
        )

    return prepare


def _fire(store: SqliteStore, clock: FakeClock) -> Operation:
    schedule = Schedule("tick", "* * * * *", "UTC", "latest", NewTask("tick"))
    store.schedules.declare(schedule, clock.now())
    return lambda: store.schedules.fire(schedule, clock.now() + 60, 2, clock.now() + 61)


def _declare(store: SqliteStore, clock: FakeClock) -> Operation:
    return lambda: store.schedules.declare(Schedule("tick", "* * * * *", "UTC", "latest", NewTask("tick")), clock.now())


def _prune(store: SqliteStore, clock: FakeClock) -> Operation:
    _ends(store, clock)
    store.tasks.cancel(TaskFilter(type="job"), clock.now())
    clock.advance(100)
    return lambda: store.upkeep.prune(Retention(1, 1, 1, 1), clock.now())


def _fold(store: SqliteStore, clock: FakeClock) -> Operation:
    _ends(store, clock)
    clock.advance(86_400 * 2)
    return lambda: store.upkeep.fold(clock.now())


def _book(store: SqliteStore, clock: FakeClock) -> Operation:
    store.inbox.enqueue_many([a_task() for _ in range(5)], clock.now())
    return lambda: store.upkeep.book(clock.now())


def _register(store: SqliteStore, clock: FakeClock) -> Operation:
    return lambda: store.workers.register(a_worker(), clock.now())


def _heartbeat(store: SqliteStore, clock: FakeClock) -> Operation:
    store.workers.register(a_worker(), clock.now())
    return lambda: store.workers.heartbeat(a_report(completed=3), clock.now())


def _commands(store: SqliteStore, clock: FakeClock) -> Operation:
    for command in (WorkerCommand.PAUSE, WorkerCommand.RESUME):
        store.workers.ask("w1", command, None, "ann", clock.now())
    return lambda: store.workers.take_commands("w1", clock.now())


def _forget(store: SqliteStore, clock: FakeClock) -> Operation:
    store.workers.register(a_worker(), clock.now())
    return lambda: store.workers.forget(clock.now() + 10)


def _take_back(store: SqliteStore, clock: FakeClock) -> Operation:
    _held(store, clock)
    return lambda: store.upkeep.take_back(["w1"], clock.now(), reason="it is silent")


def _book_ends(store: SqliteStore, clock: FakeClock) -> Operation:
    store.inbox.enqueue_many([a_task() for _ in range(3)], clock.now())
    store.database.execute(
        "INSERT INTO task_queue (type, payload, status, attempts, finished_at_utc)"
        " VALUES ('job', '{}', 'failed', 5, '2033-01-01 00:00:00')"
    )
    return lambda: store.upkeep.book(clock.now())


def _end_by_hand(store: SqliteStore, clock: FakeClock) -> Operation:
    store.inbox.enqueue_many([a_task() for _ in range(3)], clock.now())
    store.upkeep.book(clock.now())
    sql = "UPDATE task_queue SET status = 'completed', finished_at_utc = '2033-01-01 00:00:00', locked_by = 'w1'"
    return lambda: store.database.execute(sql)


def _touch(store: SqliteStore, clock: FakeClock) -> Operation:
    store.workers.register(a_worker(), clock.now())
    return lambda: store.workers.touch("w1", clock.now() + 1, '{"cpu": 8}')


def _remove(store: SqliteStore, clock: FakeClock) -> Operation:
    store.workers.register(a_worker(), clock.now())
    store.workers.ask("w1", WorkerCommand.PAUSE, None, "ann", clock.now())
    return lambda: store.workers.remove("w1")


def _delete_logs(store: SqliteStore, clock: FakeClock) -> Operation:
    _ends(store, clock)
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


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_at_any_statement_leaves_all_or_nothing_and_the_next_call_succeeds(
    tmp_path: Path, fuse: Fuse, name: str, fault: str
) -> None:
    for number in range(1, MANY):
        clock = FakeClock()
        path = tmp_path / f"{number}.db"
        store = SqliteStore(QueueDatabase(path, busy_timeout_s=0))
        store.prepare()
        operation = OPERATIONS[name](store, clock)
        before = _dump(store)
        fuse.set(number, FAULTS[fault])
        try:
            operation()
        except QueueDatabaseError:
            assert fuse.blown
            fuse.remove()
            if name not in IN_PIECES:
                assert _dump(store) == before, f"statement {number} of {name} left something half done"
            _check(store)
            operation()
        fuse.remove()
        _check(store)
        store.close()
        path.unlink()
        if not fuse.blown:
            assert number > 1
            return
    raise AssertionError(f"{name} takes more than {MANY} statements")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_statement_of_a_migration_leaves_an_empty_file_or_a_whole_queue(
    tmp_path: Path, fuse: Fuse, fault: str
) -> None:
    for number in range(1, MANY):
        path = tmp_path / f"{number}.db"
        store = SqliteStore(QueueDatabase(path, busy_timeout_s=0))
        fuse.set(number, FAULTS[fault])
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
        _check(store)
        store.close()
        path.unlink()
        if not blown:
            return
    raise AssertionError("a migration without an end")


def test_a_lease_that_was_lost_is_told_of_even_where_a_statement_failed_before(
    store: SqliteStore, fuse: Fuse, clock: FakeClock
) -> None:
    operation = _complete_within(store, clock)
    store.upkeep.expire_leases(clock.now() + LEASE_S + 1)
    fuse.set(3, FAULTS["busy"])
    with pytest.raises(QueueDatabaseError):
        operation()
    fuse.remove()
    with pytest.raises(LeaseLost):
        operation()
    assert store.database.execute("SELECT count(*) FROM queues").fetchone()[0] == 0
    _check(store)
