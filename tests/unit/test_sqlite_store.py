"""What only SQLite has: connections of the caller's own, attached files, rows as the caller likes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import epoch_to_text
from tests.helpers.builders import a_task, claim_one, settlement, status_of
from tests.helpers.clock import FakeClock
from tests.helpers.engines import SqliteEngine, sqlite_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    with sqlite_engine(tmp_path) as engine:
        yield engine


def count(engine: SqliteEngine) -> int:
    return engine.store.tasks.count(TaskFilter())


@pytest.mark.parametrize("isolation_level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", None])
def test_the_callers_connection_may_have_any_isolation_level(
    engine: SqliteEngine, clock: FakeClock, isolation_level: str | None
) -> None:
    connection = engine.callers_connection()
    connection.isolation_level = isolation_level  # type: ignore[assignment]
    if isolation_level is None:
        connection.execute("BEGIN")
    with engine.store.inbox.transaction(connection):
        engine.store.inbox.enqueue_many([a_task(), a_task()], clock.now())
        engine.store.inbox.enqueue(a_task(unique_key="u"), clock.now())
    assert count(engine) == 0
    connection.rollback()
    assert count(engine) == 0


def test_a_caller_in_autocommit_gets_each_call_whole(engine: SqliteEngine, clock: FakeClock) -> None:
    connection = engine.callers_connection()
    connection.isolation_level = None
    bad = a_task(payload=None)
    with engine.store.inbox.transaction(connection):
        engine.store.inbox.enqueue_many([a_task(), a_task()], clock.now())
        with pytest.raises(QueueDatabaseError):
            engine.store.inbox.enqueue_many([a_task(), bad], clock.now())
    assert count(engine) == 2


def test_the_callers_rows_stay_as_the_caller_likes_them(engine: SqliteEngine, clock: FakeClock) -> None:
    connection = engine.callers_connection()

    def as_dict(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> dict[str, object]:
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}

    connection.row_factory = as_dict
    engine.store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(engine.store, clock)
    with engine.store.inbox.transaction(connection):
        first = engine.store.inbox.enqueue(a_task(idempotency_key="k", unique_key="u"), clock.now())
        again = engine.store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    engine.store.work.complete_within(connection, settlement(lease, TaskStatus.COMPLETED, clock.now()))
    connection.commit()

    assert connection.row_factory is as_dict
    assert again == (first.task_id, False)
    assert status_of(engine.store, lease.task_id) == "completed"


def test_the_queue_may_be_attached_to_the_callers_own_file(
    engine: SqliteEngine, clock: FakeClock, tmp_path: Path
) -> None:
    own = sqlite3.connect(tmp_path / "own.db")
    try:
        own.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY AUTOINCREMENT)")
        own.execute("INSERT INTO orders VALUES (500)")
        own.commit()
        own.execute("ATTACH ? AS queue", (str(engine.path),))
        with engine.store.inbox.transaction(own):
            own.execute("INSERT INTO orders DEFAULT VALUES")
            done = engine.store.inbox.enqueue_many([a_task("a"), a_task("b")], clock.now())
            single = engine.store.inbox.enqueue(a_task("c"), clock.now())
        own.commit()
    finally:
        own.close()
    assert [one.task_id for one in [*done, single]] == [1, 2, 3]
    assert count(engine) == 3


def test_a_connection_without_a_queue_is_refused(engine: SqliteEngine) -> None:
    connection = sqlite3.connect(":memory:")
    try:
        with pytest.raises(QueueDatabaseError, match="no queue in it"), engine.store.inbox.transaction(connection):
            pytest.fail("it must not begin")
    finally:
        connection.close()
    assert not engine.store.inbox.bound()


def test_the_store_is_checked_by_taking_the_writers_lock(engine: SqliteEngine) -> None:
    engine.store.check()
    engine.hand("DELETE FROM books")
    with pytest.raises(QueueDatabaseError, match="restore a backup"):
        engine.store.check()


def test_who_reads_the_outcomes_books_what_a_hand_has_ended(engine: SqliteEngine, clock: FakeClock) -> None:
    now = clock.now()
    engine.store.inbox.enqueue_many([a_task() for _ in range(BOOK_CHUNK + 5)], now)
    engine.hand(f"UPDATE task_queue SET status = 'completed', finished_at_utc = '{epoch_to_text(now)}'")
    assert sum(row.tasks for row in engine.store.insight.outcomes(now - 60, now) if row.outcome == "completed") > 0
    assert engine.store.upkeep.book(now) == 0
