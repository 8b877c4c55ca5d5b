"""The verdicts on a queue, each from facts made by hand."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from prismq.domain.errors import QueueBusyError
from prismq.domain.times import from_epoch
from prismq.domain.worker import Worker
from prismq.observability.facts import Facts, RedisFigures, gather
from prismq.observability.health import Health, Limits, assess
from prismq.storage.contract import Connections, Outcomes, QueueInfo, ReadyRoute, Space, Standing
from tests.helpers.clock import FakeClock

NOW = 1_738_300_000.0
GIB = 1024**3
NOT_OFFERED = "no live worker offers what it needs; w, the nearest"


def worker(
    worker_id: str = "w", *, age_s: float = 1.0, looked_s: float = 1.0, claimed_s: float = 1.0, **columns: Any
) -> Worker:
    values = {"status": "active", "slots": 8, "started_at_utc": from_epoch(NOW - 9999), **columns}
    return Worker(
        worker_id=worker_id,
        heartbeat_utc=from_epoch(NOW - age_s),
        last_look_utc=from_epoch(NOW - looked_s),
        last_claim_utc=from_epoch(NOW - claimed_s),
        **values,
    )


def queue(
    name: str = "default",
    *,
    paused: bool = False,
    oldest_s: float | None = None,
    limit: int | None = None,
    **depth: int,
) -> QueueInfo:
    return QueueInfo(name, NOW - 60 if paused else None, "ann" if paused else None, limit, depth, oldest_s)


def outcome(name: str, tasks: int) -> Outcomes:
    return Outcomes("default", "add", name, tasks, tasks, 0, 0.0, 2.0 * tasks, None, None)


def facts(
    queues: list[QueueInfo] = [],  # noqa: B006 - read only
    workers: list[Worker] = [],  # noqa: B006 - read only
    *,
    asks: str = "{}",
    waited_s: float = 60.0,
    last_hour: list[Outcomes] = [],  # noqa: B006 - read only
    next_due: float | None = None,
    **others: Any,
) -> Facts:
    """Ready tasks are of the type `add`, and ask for `asks`."""
    depth = {(one.queue, "add", status, "normal"): tasks for one in queues for status, tasks in one.depth.items()}
    routes = [
        ReadyRoute(one.queue, "add", asks, number, NOW - waited_s)
        for number, one in enumerate(queues, 1)
        if one.depth.get("queued")
    ]
    known: dict[str, Any] = {
        "at": NOW, "name": "SQLite q.db", "response_ms": 4.2, "writable": True,
        "last_hour": last_hour, "last_day": last_hour, "space": Space(4096, 80 * GIB, 250 * GIB),
        "connections": Connections(1, 2, 3),
    }  # fmt: skip
    standing = Standing(NOW, next_due, depth, queues, routes, workers)
    return Facts(**{**known, "standing": standing, **others})


def judged(*arguments: Any, **options: Any) -> Health:
    return assess(facts(*arguments, **options))


# -- the documents of the reference, field for field


def test_the_document_has_the_fields_of_the_reference() -> None:
    found = assess(
        facts([queue(completed=1)], [worker(), worker("v", status="paused")], redis_asked=True,
              redis=RedisFigures(2.0, 512.0, 10, 1200)),
        api_uptime_s=7200.4,
    )  # fmt: skip
    document = found.to_dict()
    assert list(document)[:4] == ["status", "version", "timestamp", "checks"]
    assert (document["status"], document["timestamp"]) == ("healthy", "2025-01-31T05:06:40Z")
    assert {name: document["checks"][name] for name in ("database", "redis", "workers", "api")} == {
        "database": {"status": "healthy", "response_time_ms": 4.2},
        "redis": {"status": "healthy", "response_time_ms": 2.0},
        "workers": {"status": "healthy", "active_count": 1, "total_count": 2},
        "api": {"status": "healthy", "uptime_seconds": 7200},
    }
    assert found.database_document() == {
        "status": "healthy", "connection_pool": {"active": 1, "idle": 2, "total": 3}, "query_latency_ms": 4.2,
    }  # fmt: skip
    assert found.redis_document() == {
        "status": "healthy", "memory_mb": 512.0, "connected_clients": 10, "ops_per_second": 1200,
    }  # fmt: skip
    assert found.workers_document() == {
        "status": "healthy", "active_workers": 1, "total_workers": 2, "healthy_workers": 2, "unhealthy_workers": 0,
    }  # fmt: skip


def test_what_is_not_there_is_said_not_to_be_configured() -> None:
    found = judged([], [])
    assert found.checks["redis"].to_dict() == {"status": "not_configured", "response_time_ms": None}
    assert found.checks["api"].to_dict() == {"status": "not_configured", "uptime_seconds": None}
    assert found.redis_document() == {
        "status": "not_configured", "memory_mb": None, "connected_clients": None, "ops_per_second": None,
    }  # fmt: skip
    assert found.status == "healthy"


def test_a_worker_that_is_late_silent_or_idle_is_an_unhealthy_one() -> None:
    crew = [worker("a"), worker("b", age_s=40), worker("c", age_s=90), worker("d", claimed_s=90), worker("e", busy=8)]
    found = judged([queue(queued=1)], crew)
    assert found.workers_document() == {
        "status": "degraded", "active_workers": 2, "total_workers": 5, "healthy_workers": 2, "unhealthy_workers": 3,
    }  # fmt: skip


# -- well


def test_an_empty_queue_is_healthy_without_a_worker() -> None:
    found = judged([], [])
    assert (found.status, found.sentence) == (
        "healthy", "Healthy: nothing is ready or running, no worker is running."
    )  # fmt: skip


def test_a_queue_that_is_served_is_healthy() -> None:
    found = judged([queue(queued=3, processing=1, scheduled=2)], [worker()])
    assert found.sentence == "Healthy: 3 tasks are ready, 1 running, 2 are scheduled for later, 1 worker is live."


def test_a_paused_queue_is_not_a_fault() -> None:
    found = judged([queue(queued=2, paused=True, oldest_s=9999.0)], [worker(claimed_s=9999)])
    assert found.status == "healthy"
    assert found.sentence.endswith("1 queue paused.")


@pytest.mark.parametrize(
    ("queues", "columns"),
    [
        ([queue(queued=2)], {"looked_s": 90.0, "claimed_s": 90.0, "busy": 8}),  # its hands are full
        ([queue(completed=2)], {"looked_s": 90.0, "claimed_s": 90.0}),  # nothing waits
        ([queue(queued=2, limit=1, processing=1)], {"claimed_s": 90.0}),  # others have reached the limit
        ([queue("other", queued=2), queue(completed=1)], {"claimed_s": 90.0, "queues": '["default"]'}),
    ],
)
def test_a_worker_that_has_a_reason_may_claim_nothing(queues: list[QueueInfo], columns: dict[str, Any]) -> None:
    found = judged(queues, [worker(**columns), worker("other", busy=8)])
    assert (found.status, found.problems) == ("healthy", [])


def test_a_task_that_has_only_just_come_accuses_nobody() -> None:
    assert judged([queue(queued=2)], [worker(claimed_s=9999.0)], waited_s=5.0).status == "healthy"


# -- work that waits in vain


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"queues": '["mail"]'}, "no live worker serves the queue 'default'"),
        ({"types": '["mail"]'}, "no live worker of the queue 'default' knows the type 'add'"),
        ({"capabilities": '{"region": "us"}'}, f"{NOT_OFFERED}, lacks region 'eu' (the worker offers 'us')"),
        ({"status": "paused"}, "the workers that could are not taking new tasks (paused)"),
        ({"status": "draining"}, "the workers that could are not taking new tasks (draining)"),
        ({"status": "stopped"}, "no worker is running"),
        ({"status": "lost"}, "no worker is running"),
        ({"age_s": 90.0}, "no worker is running (1 worker fell silent)"),
        ({"looked_s": 90.0}, "the workers that could are not taking new tasks (not consuming)"),
        ({"claimed_s": 90.0}, "the workers that could are not taking new tasks (not consuming)"),
    ],
)  # fmt: skip
def test_ready_tasks_that_nobody_takes_are_unhealthy_and_it_is_said_why(columns: dict[str, Any], why: str) -> None:
    crew = [worker(**{"capabilities": '{"region": "eu"}', **columns})]
    found = judged([queue(queued=2)], crew, asks='{"region":"eu"}')
    assert found.status == found.checks["progress"].status == "unhealthy"
    assert found.problems[0] == f"2 tasks of the queue 'default' wait and {why}."
    assert found.checks["progress"].data["unserved_tasks"] == 2


def test_of_a_type_that_is_served_in_part_the_rest_is_counted_from_below() -> None:
    given = facts([queue(queued=5)], [worker()])
    asking = ReadyRoute("default", "add", '{"gpu":true}', 9, NOW - 60)
    given = replace(given, standing=given.known._replace(routes=[*given.known.routes, asking]))
    found = assess(given)
    assert found.problems == [
        f"At least 1 task of the queue 'default' waits and {NOT_OFFERED}, lacks gpu True (the worker offers none)."
    ]


def test_a_worker_that_lives_and_claims_nothing_is_unhealthy_and_named() -> None:
    found = judged([queue(queued=2)], [worker("stuck", claimed_s=70.0, busy=3), worker("good")])
    assert found.status == "unhealthy"
    assert found.problems == [
        (
            "Worker stuck is alive with 5 free slots, but has claimed nothing for 1 m while task 1 (add) of the queue "
            "'default' waits."
        )
    ]
    assert found.checks["progress"].data == {"unserved_tasks": 0, "stuck_workers": ["stuck"]}


def test_an_overdue_scheduled_task_without_a_worker_is_unhealthy() -> None:
    assert judged([queue(scheduled=1)], [], next_due=NOW - 5).status == "degraded"
    found = judged([queue(scheduled=1)], [], next_due=NOW - 60)
    assert found.status == "unhealthy"
    assert "has been due for 1 m" in found.sentence
    assert judged([queue(scheduled=1)], [worker()], next_due=NOW - 60).status == "healthy"


# -- what somebody should look at today


def test_a_queue_that_is_used_wants_a_worker() -> None:
    found = judged([queue(completed=4)], [])
    assert (found.status, found.sentence) == (
        "degraded", "Degraded: No worker is running: what is enqueued will wait."
    )  # fmt: skip


def test_a_late_heartbeat_degrades() -> None:
    found = judged([], [worker(age_s=40.0)])
    assert (found.status, found.problems) == (
        "degraded", ["Worker w is late: its last heartbeat is 40 s old."]
    )  # fmt: skip


def test_a_silent_worker_degrades_and_what_it_held_is_named() -> None:
    found = judged([], [worker(age_s=120.0, held=3), worker("v")])
    assert found.status == "degraded"
    assert found.problems == [
        (
            "Worker w is active by its own word, but its last heartbeat is 2 m old and it held 3 tasks; its process "
            "may be gone."
        )
    ]


def test_a_long_wait_degrades() -> None:
    assert judged([queue(queued=1, oldest_s=299.0)], [worker()]).status == "healthy"
    found = judged([queue(queued=1, oldest_s=301.0)], [worker()])
    assert (found.status, found.problems) == (
        "degraded", ["The oldest ready task of the queue 'default' has waited for 5 m 1 s."]
    )  # fmt: skip
    assert found.checks["backlog"].data == {"ready": 1, "oldest_ready_seconds": 301.0}


def test_many_failures_degrade_and_few_do_not() -> None:
    assert judged(last_hour=[outcome("completed", 4), outcome("failed", 4)]).status == "healthy"
    found = judged(last_hour=[outcome("completed", 20), outcome("failed", 5)])
    assert found.problems == ["20% of the tasks that ended in the last hour failed (5 of 25)."]


def test_new_dead_letters_degrade_and_old_ones_are_mentioned() -> None:
    new = judged([queue(dead_letter=3)], [worker()], last_hour=[outcome("dead_letter", 2)])
    assert (new.status, new.problems) == (
        "degraded",
        ["2 tasks became dead letters in the last 24 hours; see `prismq tasks list --status dead_letter`."],
    )
    old = judged([queue(dead_letter=3)], [worker()])
    assert (old.status, old.checks["dead_letters"].data) == ("healthy", {"total": 3, "last_24_hours": 0})
    assert old.sentence.endswith("1 worker is live, 3 old dead letters wait for somebody.")


def test_dead_letters_that_were_retried_since_are_no_news() -> None:
    assert judged([queue(completed=3)], [worker()], last_hour=[outcome("dead_letter", 2)]).status == "healthy"


@pytest.mark.parametrize(
    ("free", "status"), [(GIB, "healthy"), (GIB - 1, "degraded"), (100 * 1024**2 - 1, "unhealthy"), (None, "healthy")]
)
def test_a_disk_that_fills_up(free: int | None, status: str) -> None:
    assert judged(space=Space(1, free, None if free is None else 250 * GIB)).status == status


def test_several_problems_are_counted_in_the_sentence() -> None:
    found = judged([queue(queued=1, oldest_s=999.0)], [])
    assert found.sentence.endswith("(1 more problem below).")


# -- the database and Redis


def test_a_database_that_cannot_be_used_is_unhealthy_and_comes_first() -> None:
    found = judged([queue(queued=1)], [], failure="q.db is locked by another program", response_ms=None)
    assert found.status == "unhealthy"
    assert found.problems[0] == "The database cannot be used: q.db is locked by another program."


def test_a_slow_database_degrades() -> None:
    found = judged(response_ms=1500.0)
    assert (found.status, found.problems) == ("degraded", ["The database is slow: it took 1.5 s to answer."])
    assert assess(facts(response_ms=1500.0), limits=Limits(response_ms=2000.0)).status == "healthy"


def test_what_could_not_be_asked_is_unknown_and_not_made_up() -> None:
    found = assess(Facts(NOW, failure="it did not answer within 2 s"))
    assert found.status == "unhealthy"
    assert found.problems == ["The database cannot be used: it did not answer within 2 s."]
    assert found.workers_document() == {
        "status": "unknown", "active_workers": None, "total_workers": None, "healthy_workers": None,
        "unhealthy_workers": None,
    }  # fmt: skip


def test_without_redis_work_goes_on() -> None:
    found = judged(redis_asked=True, redis_failure="connection refused")
    assert (found.status, found.checks["redis"].status) == ("degraded", "unhealthy")
    assert found.problems == [
        "Redis does not answer (connection refused); workers find new tasks by polling until it does."
    ]


class _Store:
    """A store of which nothing works but what a test gives it."""

    name = "a store"

    def __init__(self, ask: Any) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        return _Store(self._ask)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._ask()


def test_a_store_that_never_answers_is_given_up_in_time() -> None:
    never = threading.Event()
    try:
        found = gather(_Store(never.wait), FakeClock(), timeout_s=0.05)  # type: ignore[arg-type]
    finally:
        never.set()
    assert (found.failure, found.error, found.standing) == ("it did not answer within 0.05 s", None, None)


def test_what_a_store_says_of_its_fault_is_passed_on() -> None:
    def locked() -> None:
        raise QueueBusyError("q.db is locked by another program.")

    found = gather(_Store(locked), FakeClock(), timeout_s=10)  # type: ignore[arg-type]
    assert found.failure == "q.db is locked by another program"
    assert isinstance(found.error, QueueBusyError)


def test_redis_is_asked_beside_the_store() -> None:
    def refused() -> RedisFigures:
        raise ConnectionRefusedError("connection refused")

    found = gather(_Store(lambda: 1.0), FakeClock(), timeout_s=10, redis=refused, only=("response_ms",))  # type: ignore[arg-type]
    assert (found.redis_asked, found.redis, found.redis_failure) == (True, None, "connection refused")
    found = gather(
        _Store(lambda: 1.0),
        FakeClock(),
        timeout_s=10,
        redis=lambda: RedisFigures(1.0, 2.0, 3, 4),
        only=("response_ms",),
    )  # type: ignore[arg-type]
    assert found.redis == RedisFigures(1.0, 2.0, 3, 4)
