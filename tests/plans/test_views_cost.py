"""A view that counts all tasks reads them only for columns that the books do not have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.clock import FakeClock
from tests.helpers.engines import PostgresEngine, SqliteEngine, postgres_engine, sqlite_engine

COUNTS = (
    "SELECT status, task_count FROM v_queue_status_summary",
    "SELECT sum(task_count) FROM v_queue_status_summary WHERE status <> 'completed'",
    "SELECT type, status, task_count FROM v_queue_type_summary",
    "SELECT * FROM v_queue_type_summary",  # all priorities are 100
)
WHOLE = ("SELECT * FROM v_queue_status_summary", "SELECT oldest_task FROM v_queue_status_summary")
TASKS = 5_000


def fill(engine: SqliteEngine | PostgresEngine, numbers: str) -> None:
    engine.hand(f"INSERT INTO task_queue (type, payload) SELECT 'type-' || (i % 3), '{{}}' FROM {numbers}")
    clock = FakeClock()
    while engine.store.upkeep.book(clock.now()):
        pass


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteEngine]:
    with sqlite_engine(tmp_path_factory.mktemp("views")) as engine:
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TASKS}) SELECT i FROM n"
        fill(engine, f"({numbers})")
        yield engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresEngine]:
    with postgres_engine(tmp_path_factory.mktemp("views")) as engine:
        fill(engine, f"generate_series(1, {TASKS}) AS i")
        yield engine


def steps(engine: SqliteEngine, sql: str) -> int:
    """How many of SQLite's own steps a statement takes, in hundreds."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    connection = engine.callers_connection()
    connection.set_progress_handler(count, 100)
    connection.execute(sql).fetchall()
    return taken


def rows_read(engine: PostgresEngine, sql: str) -> int:
    """How many rows of the tasks a statement reads."""
    [(found,)] = engine.look(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
    plan = found if isinstance(found, list) else json.loads(found)
    return _rows(plan[0]["Plan"])


def _rows(node: dict[str, Any]) -> int:
    mine = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "task_queue" else 0
    return int(mine) + sum(_rows(below) for below in node.get("Plans", ()))


@pytest.mark.parametrize("sql", COUNTS)
def test_a_file_gives_counts_without_reading_the_tasks(file: SqliteEngine, sql: str) -> None:
    assert steps(file, sql) < TASKS / 100


@pytest.mark.parametrize("sql", COUNTS)
def test_a_server_gives_counts_without_reading_the_tasks(server: PostgresEngine, sql: str) -> None:
    assert rows_read(server, sql) == 0


@pytest.mark.parametrize("sql", WHOLE)
def test_what_the_books_do_not_have_is_read_once_whatever_the_number_of_columns(
    file: SqliteEngine, server: PostgresEngine, sql: str
) -> None:
    assert rows_read(server, sql) == TASKS
    [whole] = [steps(file, "SELECT status, avg(attempts), min(created_at_utc), max(created_at_utc) FROM task_queue"
                           " GROUP BY status")]  # fmt: skip
    assert TASKS / 100 < steps(file, sql) < 1.5 * whole
