"""Every query of the hot paths uses the index that was made for it, and never looks at the whole table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq.domain.task import TaskFilter
from prismq.storage.sqlite.filters import where
from prismq.storage.sqlite.queries import query
from tests.helpers.engines import SqliteEngine, sqlite_engine

SQL = Path(__file__).parents[2] / "src/prismq/storage/sqlite/sql"
# name: the indexes of task_queue that it must go by ("" is the row id, - is no table of tasks at all).
HOT = {
    "add_attempt": "-",
    "add_depth": "-",
    "add_hours": "-",
    "add_log": "-",
    "add_log_if_task": "",
    "add_spans": "",
    "add_stats": "-",
    "add_totals": "-",
    "ahead_in_queue": "ix_task_ready",
    "ahead_in_route": "ix_task_route",
    "await_result": "",
    "cancel_requests": "ix_task_held",
    "claim": "",
    "complete": "",
    "crashed_lately": "ix_task_failures",
    "delete_old_logs": "-",
    "due_exists": "ix_task_due",
    "enqueue": "-",
    "expire": "ix_task_held",
    "find_by_key": "uq_task_idempotency",
    "find_logs": "-",
    "find_logs_of_task": "-",
    "find_unique_holder": "",
    "first_of_route": "ix_task_route",
    "head_of_queue": "ix_task_ready",
    "head_of_route": "ix_task_route",
    "held_by": "ix_task_held",
    "held_state": "",
    "held_tasks": "ix_task_held",
    "hold_unique_key": "-",
    "log_at": "-",
    "logs_of_task": "-",
    "longest_wait": "ix_task_ready",
    "hours": "-",
    "hours_summed": "-",
    "mend_tail": "",
    "newest_debug_logs": "-",
    "newest_failures": "ix_task_failures",
    "newest_logs": "-",
    "newest_logs_of_level": "-",
    "newest_of_queue": "ix_task_ready",
    "newest_of_route": "ix_task_route",
    "next_due": "ix_task_due",
    "old_logs": "-",
    "oldest_of_queue": "ix_task_ready",
    "oldest_of_route": "ix_task_route",
    "oldest_queued": "ix_task_ready",
    "outcomes": "-",
    "outcomes_summed": "-",
    "past_own_retention": "ix_task_keep_until",
    "past_retention_completed": "ix_task_finished",
    "past_retention_failed": "ix_task_failures",
    "paused_and_limited": "-",
    "take_probe": "-",
    "promote": "ix_task_due",
    "ready_priorities_of_queue": "ix_task_ready",
    "ready_priorities_of_route": "ix_task_route",
    "ready_queues": "ix_task_route",  # or ix_task_ready: both begin with the queue
    "ready_routes": "ix_task_route",
    "recount_booked": "",
    "renew": "ix_task_held",
    "return_lease": "",
    "running_of_queue": "ix_task_held",
    "set_booked": "-",
    "set_progress": "",
    "set_result": "",
    "settle": "",
    "span_of_logs": "-",
    "spans_of_task": "-",
    "start": "",
    "tail_counts": "",
    "tail_end": "",
    "tail_span": "-",
    "take_ends": "-",
    "take_untotalled": "-",
    "totals": "-",
    "touch_worker": "-",
    "unbooked_ends": "-",
    "unreadable_queued": "ix_task_ready",
    "unreadable_scheduled": "ix_task_due",
    "untotalled": "-",
}
# These sort what they found: the grouping of at most a chunk of new rows, or of the statistics of a window.
MAY_SORT = {"tail_counts", "find_logs_of_task", "newest_failures", "hours_summed", "outcomes_summed", "recount_booked"}
# `prismq doctor` asks them, and nobody else: they read what waits, up to a limit, by the index of what waits.
READ_IT_ALL = {"unreadable_queued", "unreadable_scheduled"}
# Partial indexes over the few tasks in someone's hands may be read whole; so may small tables and JSON arguments,
# and log lines from the last one backwards, up to a limit.
MAY_SCAN = re.compile(
    r"SCAN (task_queue USING (COVERING )?INDEX ix_task_held|books|ends_by_hand$|task_logs$|task_totals$"
    r"|sqlite_sequence|queues|breakers USING COVERING INDEX ix_breaker_shut|json_each|CONSTANT)"
    r"|SCAN \(subquery|SCAN ready|SCAN ended$"
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteEngine]:
    with sqlite_engine(tmp_path_factory.mktemp("plans")) as engine:
        yield engine


def plan_of(connection: sqlite3.Connection, sql: str) -> list[str]:
    names = {name: None for name in re.findall(r":(\w+)", sql) if not name.isdigit()}
    numbers = [int(n) for n in re.findall(r"\?(\d+)", sql)]
    count = max(numbers) if numbers else sql.count("?")
    params: object = names or [None] * count
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]  # type: ignore[arg-type]


def full_scans(plan: list[str]) -> list[str]:
    return [line for line in plan if line.startswith("SCAN") and not MAY_SCAN.match(line)]


def indexes(plan: list[str]) -> set[str]:
    """Of the table of tasks; '' is the row id."""
    found = set()
    for line in plan:
        if re.search(r"(task_queue|\bt)\b", line) and line.startswith(("SEARCH", "SCAN")):
            match = re.search(r"INDEX (\w+)", line)
            found.add(match[1] if match else "" if "INTEGER PRIMARY KEY" in line else line)
    return found


def test_every_query_file_has_a_plan_that_is_watched() -> None:
    assert {file.stem for file in SQL.glob("*.sql")} == set(HOT)


@pytest.mark.parametrize("name", sorted(HOT))
def test_a_query_goes_by_its_index(engine: SqliteEngine, name: str) -> None:
    plan = plan_of(engine.store.database.get_connection(), query(name))
    assert full_scans(plan) == [] or name in READ_IT_ALL, plan
    if name not in MAY_SORT:
        assert not [line for line in plan if "TEMP B-TREE" in line], plan
    if HOT[name] != "-":
        assert HOT[name] in indexes(plan), plan
        assert indexes(plan) <= {HOT[name], ""}, plan


@pytest.mark.parametrize("name", sorted(HOT))
def test_statistics_of_a_full_table_change_no_plan(engine: SqliteEngine, name: str) -> None:
    """ANALYZE on a table of very uneven tasks must not talk the planner out of an index."""
    engine.hand("BEGIN")
    engine.hand(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        " INSERT INTO task_queue (type, payload, status, finished_at_utc)"
        " SELECT 't', '{}', CASE WHEN i % 100 THEN 'completed' ELSE 'queued' END, '2026-01-01 00:00:00' FROM n"
    )
    engine.hand("ANALYZE")
    try:
        plan = plan_of(engine._tool, query(name).replace("prismq_merge_bins", "coalesce"))
        assert full_scans(plan) == [] or name in READ_IT_ALL, plan
        if HOT[name] != "-":
            assert HOT[name] in indexes(plan), plan
    finally:
        engine.hand("ROLLBACK")


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("logs_of_task", "ix_logs_task"),
        ("newest_logs_of_level", "ix_logs_level"),
        ("newest_logs", "SCAN task_logs"),
        ("newest_debug_logs", "PRIMARY KEY"),
        ("old_logs", "PRIMARY KEY"),
        ("delete_old_logs", "PRIMARY KEY"),
    ],
)
def test_log_lines_are_found_in_the_order_in_which_they_lie(engine: SqliteEngine, name: str, index: str) -> None:
    plan = plan_of(engine.store.database.get_connection(), query(name))
    assert [line for line in plan if "task_logs" in line and index in line], plan


VIEWS = {
    "SELECT * FROM v_recent_failures": "ix_task_failures",
    "SELECT * FROM v_worker_status": "ix_task_held",
}


@pytest.mark.parametrize("sql", sorted(VIEWS))
def test_a_view_that_is_asked_often_goes_by_its_index(engine: SqliteEngine, sql: str) -> None:
    plan = plan_of(engine.store.database.get_connection(), sql)
    assert not [line for line in plan if line in ("SCAN task_queue", "SCAN t")], plan
    assert VIEWS[sql] in indexes(plan), plan
    if "failures" in sql:
        assert not [line for line in plan if "TEMP B-TREE" in line], plan


@pytest.mark.parametrize(
    "statuses", [("failed",), ("dead_letter",), ("failed", "dead_letter"), ("cancelled",)], ids=str
)
def test_what_waits_for_a_person_is_listed_by_an_index(engine: SqliteEngine, statuses: tuple[str, ...]) -> None:
    condition, params = where(TaskFilter(statuses=statuses))
    sql = f"SELECT * FROM task_queue WHERE {condition} AND id > ? ORDER BY id LIMIT ?"
    assert params == []
    plan = plan_of(engine.store.database.get_connection(), sql)
    assert full_scans(plan) == [], plan


@pytest.mark.parametrize(
    "statuses", [("claimed",), ("processing",), ("claimed", "processing"), ("queued",), ("scheduled",)], ids=str
)
def test_lists_by_status_do_not_read_the_whole_history(engine: SqliteEngine, statuses: tuple[str, ...]) -> None:
    """Asked of the store itself: what it says to SQLite is what is explained."""
    connection = engine.store.database.get_connection()
    said: list[str] = []
    connection.set_trace_callback(said.append)
    engine.store.tasks.find(TaskFilter(statuses=statuses, queue="q"))
    engine.store.tasks.count(TaskFilter(statuses=statuses))
    connection.set_trace_callback(None)
    listing, count = said
    for sql in (listing, count):
        plan = plan_of(connection, sql)
        assert not [line for line in plan if line == "SCAN task_queue"], plan
