"""On PostgreSQL, too, every query of the hot paths goes by its index, whatever the planner's statistics say.

Statistics are as old as the last ANALYZE, and a queue changes faster than that: the plans are looked at with those of
the table as it is, with those of a day when it was short and all of it was queued, and with none at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from prismq.domain.task import TaskFilter
from prismq.domain.times import from_epoch
from prismq.storage.postgres import claims
from prismq.storage.postgres.filters import NEWEST_FIRST, order, where
from prismq.storage.postgres.queries import query
from tests.helpers.postgres import server

SQL = Path(__file__).parents[2] / "src/prismq/storage/postgres/sql"
Connection = psycopg.Connection[tuple[Any, ...]]

ID = "task_queue_pkey"
READY, ROUTE, DUE, HELD = "ix_task_ready", "ix_task_route", "ix_task_due", "ix_task_held"
# name: the indexes of task_queue that it may go by; none, where it does not read that table.
HOT: dict[str, set[str]] = {
    "add_log": {ID},
    "add_logs_if_task": {ID},
    "add_spans": {ID},
    "ahead": {READY, ROUTE},
    "any_expired": {HELD},
    "ask_to_stop": {ID},
    "await_result": {ID},
    "cancel": {ID},
    "cancel_requests": {HELD},
    "complete": {ID},
    "crashed_lately": {"ix_task_failures"},
    "delete_ended": {ID},
    "enqueue_once": {"uq_task_idempotency"},
    "find_by_keys": {"uq_task_idempotency"},
    "find_unique_holder": {ID},
    "first_of_routes": {ROUTE},
    "expire": {HELD},
    "forget_workers": {HELD},
    "held_by": {HELD},
    "held_state": {ID},
    "held_tasks": {HELD},
    "make_ready": {ID},
    "newest_failures": {"ix_task_failures"},
    "next_due": {DUE},
    "oldest_queued": {READY},
    "newest_queued": {READY},
    "oldest_ready": {READY},
    "poll": {DUE, ROUTE},
    "past_own_retention": {"ix_task_keep_until"},
    "past_retention_completed": {"ix_task_finished"},
    "past_retention_failed": {"ix_task_failures"},
    "renew": {HELD, ID},
    "promote": {DUE, ID},
    "reprioritise": {ID},
    "requeue": {ID},
    "return_leases": {ID},
    "running_of_queues": {HELD},
    "set_progress": {ID},
    "set_results": {ID},
    "settle": {ID},
    "start": {ID},
    "take_probes": {HELD},
    **{name: set() for name in (
        "add_attempts", "add_depth", "add_logs", "add_new_depth", "add_stats", "add_totals", "advance_schedule",
        "bins_of_totals", "declare_schedule", "depth", "drop_hours", "drop_old_stats", "enqueue", "enqueue_many",
        "heartbeat", "hold_unique_key", "hours_of", "limit_queue", "lock_limits", "lock_probes", "lock_unique_key",
        "next_ids",
        "note_acts", "note_lost", "old_logs", "outcomes", "outcomes_summed", "pause_queue", "begin_exchange",
        "plan_by_index", "prune_logs", "put_hours", "put_stats", "resume_schedule", "spans_of_task", "stats_of",
        "sum_depth", "take_commands", "take_depth_deltas", "take_old_stats", "take_stats_deltas", "totals",
        "touch_worker", "used_bytes",
    )},
}  # fmt: skip
# The claim's look-ups go by `begin_exchange`, which comes before them in their transaction, and are put together from
# parts; see test_a_claim_goes_by_its_indexes.
CLAIM = {
    "as_usual", "claim", "heads", "newest_heads", "oldest_heads", "ready_priorities", "ready_routes",
    "ready_routes_of_queues",
}  # fmt: skip
# What a person asks of the database itself: catalogues, and on purpose the whole table.
KEEPING = {
    "amcheck", "compare_books", "dead_rows", "invalid_indexes", "littered", "mend_books", "not_objects",
    "pinned_snapshots", "table_sizes",
}  # fmt: skip
# These come after `plan_by_index` in their transaction.
BY_INDEX = {
    "ahead", "crashed_lately", "first_of_routes", "held_tasks", "newest_failures", "old_logs", "oldest_queued",
    "newest_queued", "oldest_ready", "promote", "set_results", "start",
    "past_own_retention", "past_retention_completed", "past_retention_failed",
}  # fmt: skip
# These sort what they were given by id, or the few tasks in someone's hands.
MAY_SORT = {"add_logs_if_task", "held_by", "running_of_queues", "take_probes"}
# Tables that grow with the tasks; what is small may be read whole.
GREAT = {"task_queue", "task_logs", "task_attempts", "unique_keys"}
LIMIT = "500"
VALUES = {
    "timestamp with time zone": "now()",
    "text": "'default'",
    "integer": "100",
    "smallint": "100",
    "bigint": "100000",
    "double precision": "30",
    "boolean": "false",
    "jsonb": "'{}'",
    "text[]": "ARRAY['a', 'b', 'c']",
    "bigint[]": "ARRAY[1000, 2000, 3000]",
    "integer[]": "ARRAY[1, 2, 3]",
    "boolean[]": "ARRAY[true, false, true]",
    "double precision[]": "ARRAY[1, 2, 3]",
    "timestamp with time zone[]": "ARRAY[now(), now(), now()]",
    "json[]": "ARRAY['{}', '{}', '{}']::json[]",
    "jsonb[]": "ARRAY['{}', '{}', '{}']::jsonb[]",
    "interval": "'30 s'",
}

_ROWS = (
    "INSERT INTO task_queue (type, payload, revision, queue, priority, status, run_after_utc, finished_at_utc,"
    " retention_seconds, locked_by, lease_until_utc, error_message)"
    " SELECT 'job' || i % 5, '{{}}', 1, 'q' || i % 3, 100 + i % 4, s, now() - interval '1 h' + i * interval '1 ms',"
    " CASE WHEN s IN ('completed', 'cancelled', 'failed', 'dead_letter') THEN now() - i * interval '1 ms' END,"
    " CASE WHEN i % 50 = 0 THEN 60 END,"
    " CASE WHEN s IN ('claimed', 'processing') THEN 'w' || i % 20 END,"
    " CASE WHEN s IN ('claimed', 'processing') THEN now() + interval '30 s' END,"
    " CASE WHEN s = 'failed' THEN 'it broke' END"
    " FROM generate_series({first}, {last}) AS i,"
    " LATERAL (SELECT CASE WHEN i <= {queued} OR i % 10 = 0 THEN 'queued' WHEN i % 10 = 1 THEN 'scheduled'"
    " WHEN i % 1000 = 2 THEN 'processing' WHEN i % 1000 = 3 THEN 'claimed' WHEN i % 100 = 4 THEN 'failed'"
    " WHEN i % 100 = 5 THEN 'cancelled' ELSE 'completed' END AS s) AS of"
)
FEW, MANY = 1_000, 200_000
_OTHER_ROWS = (
    "INSERT INTO task_logs (task_id, message) SELECT id, 'x' FROM task_queue",
    (
        "INSERT INTO task_attempts (task_id, fencing_token, attempt, outcome) SELECT id, 1, 1, 'lost' FROM task_queue"
        " WHERE id % 10 = 0"
    ),
    (
        "INSERT INTO unique_keys (unique_key, task_id, until_utc) SELECT 'k' || id, id, now() FROM task_queue"
        " WHERE id % 10 = 0"
    ),
    (
        "INSERT INTO task_stats (slot_utc, span_s, queue, type, outcome, tasks)"
        " SELECT now() - i * interval '1 min', 60, 'q', 'job', 'completed', 1 FROM generate_series(1, 20000) AS i"
    ),
)


@pytest.fixture(scope="module", params=["of now", "of an emptier day", "none"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A queue of mixed tasks, with the statistics that the parameter names. Autovacuum is off: they stay so."""
    database = server().new_queue()
    with server().connect(database, autocommit=True) as connection:
        connection.execute("SET jit = off")
        connection.execute(_ROWS.format(first=1, last=FEW, queued=FEW))
        if request.param == "of an emptier day":
            connection.execute("ANALYZE")
        connection.execute(_ROWS.format(first=FEW + 1, last=MANY, queued=0))
        for rows in _OTHER_ROWS:
            connection.execute(rows)
        if request.param == "of now":
            connection.execute("ANALYZE")
        yield connection
    server().drop(database)


def plans_of(connection: Connection, name: str, sql: str) -> dict[str, dict[str, Any]]:
    """The plan for these values, and the one for any, which PostgreSQL may take from the sixth time on."""
    numbers: dict[object, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1] or object(), len(numbers) + 1)}"

    text = re.sub(r"%(?:\((\w+)\))?s", number, sql).replace("%%", "%")
    connection.execute(f"PREPARE p_{name} AS {text}".encode())
    try:
        found = connection.execute(
            "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = %s", (f"p_{name}",)
        ).fetchone()
        assert found is not None
        limits = [index for name, index in numbers.items() if name == "limit"]
        values = ", ".join(LIMIT if n in limits else VALUES[kind] for n, kind in enumerate(found[0], 1))
        plans = {}
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}".encode())
            call = f"EXECUTE p_{name}" + (f" ({values})" if values else "")
            rows = connection.execute(f"EXPLAIN (FORMAT JSON) {call}".encode()).fetchall()
            plans[mode] = json.loads(rows[0][0])[0]["Plan"]
        return plans
    finally:
        connection.execute(f"DEALLOCATE p_{name}".encode())


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def whole_tables(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in nodes(plan) if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GREAT]


def unbounded_sorts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Sorts of rows of a great table that no LIMIT has bounded before."""
    found = [plan] if plan["Node Type"] in ("Sort", "Incremental Sort") and reads_great(plan) else []
    return found + [sort for below in plan.get("Plans", []) for sort in unbounded_sorts(below)]


def reads_great(plan: dict[str, Any]) -> bool:
    is_scan = plan["Node Type"].endswith("Scan") and plan.get("Relation Name") in GREAT
    return is_scan or any(reads_great(below) for below in plan.get("Plans", []) if below["Node Type"] != "Limit")


def indexes(connection: Connection, plan: dict[str, Any]) -> set[str]:
    """Those of task_queue."""
    ours = {name for (name,) in connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'task_queue'")}
    return {node["Index Name"] for node in nodes(plan) if node.get("Index Name") in ours}


def test_every_query_file_has_a_plan_that_is_watched() -> None:
    assert {file.stem for file in SQL.glob("*.sql")} == set(HOT) | CLAIM | KEEPING


@pytest.mark.parametrize("name", sorted(HOT))
def test_a_query_goes_by_its_index(connection: Connection, name: str) -> None:
    with connection.transaction():
        if name in BY_INDEX:
            connection.execute(query("plan_by_index"))
        plans = plans_of(connection, name, query(name))
    for mode, plan in plans.items():
        assert whole_tables(plan) == [], (mode, plan)
        if name not in MAY_SORT:
            assert unbounded_sorts(plan) == [], (mode, plan)
        assert indexes(connection, plan) <= HOT[name], (mode, plan)
        assert indexes(connection, plan) or not HOT[name], (mode, plan)


CLAIM_STATEMENTS = {
    "ready_routes": (query("ready_routes"), {ROUTE}),
    "ready_routes_of_queues": (query("ready_routes_of_queues"), {ROUTE}),
    "ready_priorities": (query("ready_priorities"), {READY, ROUTE}),
    "look at heads": (claims._LOOK_AT_HEADS, {READY, ROUTE}),
    "look at oldest": (claims._LOOK_AT_OLDEST, {READY, ROUTE}),
    "look at newest": (claims._LOOK_AT_NEWEST, {READY, ROUTE}),
    "claim heads": (claims._CLAIM_HEADS, {READY, ROUTE, ID}),
    "claim as usual": (claims._CLAIM_USUAL, {READY, ROUTE, ID}),
    "claim as usual of one queue": (claims._CLAIM_USUAL_QUEUE, {READY, ROUTE, ID}),
    "claim oldest": (claims._CLAIM_OLDEST, {READY, ROUTE, ID}),
    "claim newest": (claims._CLAIM_NEWEST, {READY, ROUTE, ID}),
}


@pytest.mark.parametrize("name", list(CLAIM_STATEMENTS))
def test_a_claim_goes_by_its_indexes(connection: Connection, name: str) -> None:
    sql, its_indexes = CLAIM_STATEMENTS[name]
    with connection.transaction():
        connection.execute(query("begin_exchange"))
        plans = plans_of(connection, name.replace(" ", "_"), sql)
    for mode, plan in plans.items():
        assert whole_tables(plan) == [], (mode, plan)
        assert unbounded_sorts(plan) == [], (mode, plan)
        assert indexes(connection, plan) == its_indexes, (mode, plan)


LISTS = {
    ("claimed",): HELD,
    ("processing",): HELD,
    ("claimed", "processing"): HELD,
    ("queued",): ROUTE,
    ("scheduled",): DUE,
}


@pytest.mark.parametrize("statuses", list(LISTS), ids=str)
def test_lists_by_status_do_not_read_the_whole_history(connection: Connection, statuses: tuple[str, ...]) -> None:
    which = TaskFilter(statuses=statuses)
    condition, params = where(which, from_epoch)
    assert params == []
    assert order(which) != NEWEST_FIRST
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        sql = f"SELECT * FROM task_queue WHERE {condition} ORDER BY {order(which)} LIMIT 100"
        plans = plans_of(connection, "list", sql)
    for mode, plan in plans.items():
        assert whole_tables(plan) == [], (mode, plan)
        assert indexes(connection, plan) == {LISTS[statuses]}, (mode, plan)


VIEWS = {
    "SELECT * FROM v_recent_failures": "ix_task_failures",
    "SELECT * FROM v_worker_status": HELD,
}


@pytest.mark.parametrize("sql", sorted(VIEWS))
def test_a_view_that_is_asked_often_goes_by_its_index(connection: Connection, sql: str) -> None:
    connection.execute("INSERT INTO workers (worker_id) SELECT 'w' || i FROM generate_series(1, 5) AS i"
                       " ON CONFLICT DO NOTHING")  # fmt: skip
    for mode, plan in plans_of(connection, "view", sql).items():
        assert whole_tables(plan) == [], (mode, plan)
        assert indexes(connection, plan) == {VIEWS[sql]}, (mode, plan)
