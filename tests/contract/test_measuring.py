"""What a process asks of its database, counted: every sentence of Insight.measure and Insight.queries."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from prismq.domain.errors import QueueBusyError
from prismq.domain.task import TaskFilter
from prismq.storage.contract import QueryFigures, Store
from prismq.storage.measuring import BOUNDARIES_S, CONTROL, KINDS, OUTCOMES, kind_of
from prismq.storage.postgres import queries as postgres_queries
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from prismq.storage.sqlite import queries as sqlite_queries
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.store import SqliteStore
from tests.helpers.builders import a_task
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine, PostgresEngine, SqliteEngine


def figures(store: Store) -> QueryFigures:
    found = store.insight.queries()
    assert found is not None
    return found


def counts(store: Store) -> dict[str, int]:
    return {kind: sum(timings.counts) for kind, timings in figures(store).statements.items()}


def test_nothing_is_counted_before_somebody_wants_to_know(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    assert store.insight.queries() is None


def test_statements_and_transactions_are_counted_by_what_they_do(store: Store, clock: FakeClock) -> None:
    store.close()
    store.insight.measure()
    before = counts(store)
    assert set(before) == set(KINDS)
    for _ in range(5):
        store.inbox.enqueue(a_task(), clock.now())
    after = counts(store)
    assert after["insert"] >= before["insert"] + 5
    assert after["delete"] == before["delete"] == 0
    store.tasks.find(TaskFilter())
    assert counts(store)["select"] > after["select"]
    found = figures(store)
    assert set(found.transactions) == set(OUTCOMES)
    for timings in (*found.statements.values(), *found.transactions.values()):
        assert len(timings.counts) == len(BOUNDARIES_S) + 1
        assert (timings.sum_s > 0) == (sum(timings.counts) > 0)
    assert found.busy == 0


def test_to_ask_for_it_again_changes_nothing(store: Store, clock: FakeClock) -> None:
    store.close()
    store.insight.measure()
    store.inbox.enqueue(a_task(), clock.now())
    before = counts(store)
    store.insight.measure()
    assert counts(store) == before


def test_threads_count_together(store: Store, clock: FakeClock) -> None:
    store.close()
    store.insight.measure()
    store.inbox.enqueue(a_task(), clock.now())
    before = counts(store)["insert"]

    def enqueue() -> None:
        for _ in range(20):
            store.inbox.enqueue(a_task(), clock.now())

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(store)["insert"] >= before + 80


def test_a_transaction_that_is_rolled_back_counts_as_that(engine: Engine) -> None:
    store, database = engine.store, engine.store.database  # type: ignore[attr-defined]  # both engines have one
    store.close()
    store.insight.measure()
    with pytest.raises(ZeroDivisionError), database.transaction():
        raise ZeroDivisionError
    with database.transaction():
        pass
    ended = {outcome: sum(timings.counts) for outcome, timings in figures(store).transactions.items()}
    assert ended == {"committed": 1, "rolled_back": 1}


def impatient(engine: Engine) -> Store:
    """A second store, which waits for nothing longer than 0.2 s."""
    if isinstance(engine, SqliteEngine):
        return SqliteStore(QueueDatabase(engine.path, busy_timeout_s=0.2))
    assert isinstance(engine, PostgresEngine)
    return PostgresStore(PostgresDatabase(engine.url, busy_timeout_s=0.2, server_clock=False))


def test_waiting_in_vain_is_told(engine: Engine, clock: FakeClock) -> None:
    """Somebody else holds what is wanted for longer than the busy timeout."""
    store, holder = impatient(engine), engine.callers_connection()
    try:
        store.insight.measure()
        store.inbox.enqueue(a_task(), clock.now())
        assert figures(store).busy == 0
        if isinstance(engine, SqliteEngine):
            holder.execute("BEGIN IMMEDIATE")
        else:
            holder.execute("LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(QueueBusyError):
            store.inbox.enqueue_many([a_task(), a_task()], clock.now())
        holder.rollback()
        found = figures(store)
        assert found.busy == 1
        assert found.lock_wait_s >= (0.15 if isinstance(engine, SqliteEngine) else 0)
        store.inbox.enqueue(a_task(), clock.now())
        assert figures(store).busy == 1
    finally:
        holder.close()
        store.close()


def test_a_pool_that_is_used_up_is_told(engine: Engine) -> None:
    """SQLite has a connection for each thread, and no pool."""
    if not isinstance(engine, PostgresEngine):
        assert engine.store.insight.connections_max() is None
        return
    database = PostgresDatabase(engine.url, pool_size=2, busy_timeout_s=0.1)
    store = PostgresStore(database)
    store.insight.measure()
    assert store.insight.connections_max() == 2

    def want_another() -> None:
        with pytest.raises(QueueBusyError), database.reading():
            pass

    with database.reading(), database.reading():
        other = threading.Thread(target=want_another)
        other.start()
        other.join()
    found = figures(store)
    assert found.busy == 1
    assert found.lock_wait_s >= 0.08
    store.close()


@pytest.mark.parametrize("folder", [Path(sqlite_queries.__file__).parent, Path(postgres_queries.__file__).parent])
def test_every_statement_of_ours_is_of_a_kind(folder: Path) -> None:
    for path in sorted((folder / "sql").glob("*.sql")):
        assert kind_of(path.read_text()) in KINDS[:4], path.name


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", "select"),
        ("  -- says why\n/* and more */ insert into t values (1)", "insert"),
        ("WITH a AS (SELECT 1), b AS (DELETE FROM t RETURNING *) UPDATE t SET x = 1", "update"),
        ("WITH a AS MATERIALIZED (UPDATE t SET x = 1 RETURNING 'SELECT (') DELETE FROM t", "delete"),
        ("BEGIN IMMEDIATE", CONTROL),
        ("COMMIT", CONTROL),
        ("PRAGMA data_version", CONTROL),
        ("BEGIN; SET LOCAL lock_timeout = '1'", CONTROL),
        ("VACUUM", "other"),
        ("CREATE TABLE t AS SELECT 1", "other"),
        ("", "other"),
    ],
)
def test_the_kind_is_the_first_verb_outside_of_parentheses(sql: str, kind: str) -> None:
    assert kind_of(sql) == kind
