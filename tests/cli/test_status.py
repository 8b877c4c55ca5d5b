"""`prismq status`, and the verdicts behind it."""

from __future__ import annotations

import json

import pytest

from prismq import PrismQ, Task, Worker
from prismq.cli import health
from prismq.domain.times import from_epoch
from prismq.storage.contract import Outcomes, QueueInfo
from tests.cli.conftest import Cli, add_worker, set_task

NOW = 1_738_300_000.0


def worker(worker_id: str = "w", *, age_s: float = 1.0, looked_s: float = 1.0, **columns: object) -> Worker:
    values = {"status": "active", "slots": 8, **columns}
    return Worker(
        worker_id=worker_id, heartbeat_utc=from_epoch(NOW - age_s), last_look_utc=from_epoch(NOW - looked_s), **values
    )  # type: ignore[arg-type]


def queue(name: str = "default", *, paused: bool = False, oldest_s: float | None = None, **depth: int) -> QueueInfo:
    return QueueInfo(name, NOW - 60 if paused else None, "ann" if paused else None, None, depth, oldest_s)


def outcome(name: str, tasks: int) -> Outcomes:
    return Outcomes("default", "add", name, tasks, tasks, 0, 0.0, 2.0 * tasks, None, None)


def judged(
    queues: list[QueueInfo],
    workers: list[Worker],
    *,
    types: str = "add",
    outcomes: list[Outcomes] = [],  # noqa: B006 - read only
    next_due: float | None = None,
) -> health.Health:
    seen = health.views(workers, queues, NOW, 10.0)
    depth = {(one.queue, types, status, "normal"): tasks for one in queues for status, tasks in one.depth.items()}
    left_alone = health.unserved(depth, queues, seen)
    hour = health.window_of(outcomes, 3600.0)
    return health.assess(queues, seen, left_alone, hour, now=NOW, next_due=next_due, oldest_ready_max_s=300.0)


def test_an_empty_queue_is_healthy_without_a_worker() -> None:
    assert judged([], []) == health.Health("healthy", "Healthy: nothing is ready or running, no worker is running.", [])


def test_a_queue_that_is_served_is_healthy() -> None:
    verdict = judged([queue(queued=3, processing=1)], [worker()])
    assert verdict.sentence == "Healthy: 3 tasks are ready, 1 running, 1 worker is live."


def test_ready_tasks_without_a_worker_are_unhealthy() -> None:
    verdict = judged([queue(queued=1)], [])
    assert verdict.level == "unhealthy"
    assert verdict.sentence == "Unhealthy: 1 task of the queue 'default' waits and no worker is running."


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"queues": '["mail"]'}, "no live worker serves the queue 'default'"),
        ({"types": '["mail"]'}, "no live worker of the queue 'default' knows the type 'add'"),
        ({"status": "paused"}, "the workers that could are not taking new tasks (paused)"),
        ({"status": "draining"}, "the workers that could are not taking new tasks (draining)"),
        ({"status": "stopped"}, "no worker is running"),
        ({"status": "lost"}, "no worker is running"),
        ({"age_s": 90.0}, "no worker is running (1 worker fell silent)"),
        ({"looked_s": 90.0}, "the workers that could are not taking new tasks (not consuming)"),
    ],
)
def test_ready_tasks_that_nobody_takes_are_unhealthy_and_it_is_said_why(other: dict[str, object], why: str) -> None:
    verdict = judged([queue(queued=2)], [worker(**other)])  # type: ignore[arg-type]
    assert verdict.level == "unhealthy"
    assert verdict.problems[0] == f"2 tasks of the queue 'default' wait and {why}."


def test_a_paused_queue_is_not_a_fault() -> None:
    verdict = judged([queue(queued=2, paused=True, oldest_s=9999.0)], [])
    assert verdict.level == "healthy"
    assert verdict.sentence.endswith("1 queue paused.")


def test_a_worker_without_free_slots_may_look_away() -> None:
    assert judged([queue(queued=2)], [worker(looked_s=90.0, busy=8)]).level == "healthy"


def test_a_worker_may_look_away_while_nothing_waits_for_it() -> None:
    assert judged([queue(completed=2)], [worker(looked_s=90.0)]).level == "healthy"


def test_a_late_heartbeat_degrades() -> None:
    verdict = judged([], [worker(age_s=40.0)])
    assert (verdict.level, verdict.problems) == (
        "degraded", ["Worker w is late: its last heartbeat is 40 s old."]
    )  # fmt: skip


def test_a_silent_worker_degrades_and_what_it_held_is_named() -> None:
    verdict = judged([], [worker(age_s=120.0, held=3)])
    assert verdict.level == "degraded"
    assert (
        "Worker w is active by its own word, but its last heartbeat is 2 m old and held 3 tasks" in verdict.problems[0]
    )


def test_a_long_wait_degrades() -> None:
    assert judged([queue(queued=1, oldest_s=299.0)], [worker()]).level == "healthy"
    verdict = judged([queue(queued=1, oldest_s=301.0)], [worker()])
    assert (verdict.level, verdict.problems) == (
        "degraded", ["The oldest ready task of the queue 'default' has waited for 5 m 1 s."]
    )  # fmt: skip


def test_many_failures_degrade_and_few_do_not() -> None:
    assert judged([], [], outcomes=[outcome("completed", 4), outcome("failed", 4)]).level == "healthy"
    verdict = judged([], [], outcomes=[outcome("completed", 20), outcome("failed", 3), outcome("dead_letter", 2)])
    assert verdict.problems == ["20% of the tasks that ended in the last hour failed (5 of 25)."]


def test_an_overdue_scheduled_task_without_a_worker_is_unhealthy() -> None:
    assert judged([queue(scheduled=1)], [], next_due=NOW - 5).level == "healthy"
    verdict = judged([queue(scheduled=1)], [], next_due=NOW - 60)
    assert verdict.level == "unhealthy"
    assert "has been due for 1 m" in verdict.sentence
    assert judged([queue(scheduled=1)], [worker()], next_due=NOW - 60).level == "healthy"


def test_several_problems_are_counted_in_the_sentence() -> None:
    verdict = judged([queue(queued=1, oldest_s=999.0)], [])
    assert verdict.sentence.endswith("(1 more problem below).")


@pytest.mark.parametrize(
    ("task", "queues", "workers", "why"),
    [
        (Task(status="completed"), [], [], None),
        (Task(status="scheduled", run_after_utc=from_epoch(NOW + 90)), [], [], "It is due in 1 m 30 s."),
        (
            Task(status="scheduled", attempts=1, run_after_utc=from_epoch(NOW + 5)), [], [],
            "It is due for its next attempt in 5 s.",
        ),
        (Task(type="add"), [], [], "No worker is running."),
        (Task(type="add"), [queue(paused=True)], [worker()], "The queue 'default' was paused by ann 1 m ago."),
        (Task(type="add"), [queue()._replace(max_running=2, depth={"processing": 2})], [worker()],
         "The queue 'default' runs 2 tasks, which is its limit (2)."),
        (Task(type="add", compatibility='{"region":"eu"}'), [], [worker()],
         "It wants a worker that offers {\"region\":\"eu\"}; see `prismq workers list`."),
        (Task(type="add"), [queue(queued=3)], [worker()],
         "It waits for its turn; 2 other tasks of its queue are ready."),
    ],
)  # fmt: skip
def test_it_is_said_why_a_task_waits(
    task: Task, queues: list[QueueInfo], workers: list[Worker], why: str | None
) -> None:
    assert health.why_it_waits(task, queues, health.views(workers, queues, NOW, 10.0), NOW) == why


# -- the command


def test_a_healthy_queue_ends_with_0_and_its_sentence_comes_first(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {}, delay=3600)
    add_worker(q)
    answer = cli("status")
    assert answer.code == 0
    assert answer.out.splitlines()[0] == (
        "Healthy: nothing is ready or running, 1 is scheduled for later, 1 worker is live."
    )


def test_an_unhealthy_queue_ends_with_1_unless_told_otherwise(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("status").code == 1
    assert cli("status", "--json").code == 1
    assert cli("status", "--exit-zero").code == 0


def test_the_age_that_is_a_problem_can_be_chosen(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    set_task(q, 1, run_after_utc="2020-01-01 00:00:00.000")
    add_worker(q)
    assert cli("status").code == 1
    assert cli("status", "--max-age", "9999w").code == 0
    assert cli("status", "--max-age", "soon").code == 2


def test_the_status_has_stable_keys(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    add_worker(q)
    add_worker(q, "gone-0-ffff", status="stopped")
    found = cli("status", "--json").json
    assert set(found) == {
        "health", "database", "at_utc", "depth", "oldest_ready_seconds", "queues", "workers", "unserved", "last_hour",
        "last_24_hours",
    }  # fmt: skip
    assert set(found["health"]) == {"level", "sentence", "problems"}
    assert found["depth"]["queued"] == 1
    assert len(found["depth"]) == 8
    assert set(found["queues"][0]) == {
        "queue", "paused", "paused_at_utc", "paused_by", "max_running", "depth", "oldest_ready_seconds"
    }  # fmt: skip
    assert [one["worker_id"] for one in found["workers"]] == ["host-0-abc123"]
    assert set(found["last_hour"]) == set(found["last_24_hours"]) == {
        "completed", "failed", "dead_letter", "cancelled", "retried", "snoozed", "released", "lost", "timed_out",
        "per_minute", "failure_rate", "mean_run_seconds", "p50_run_seconds", "p95_run_seconds", "p95_wait_seconds",
    }  # fmt: skip


def test_what_nobody_serves_is_named_for_programs(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {}, queue="fast")
    add_worker(q, queues=json.dumps(["default"]))
    assert cli("status", "--json").json["unserved"] == [
        {"queue": "fast", "types": ["add"], "tasks": 1, "why": "no live worker serves the queue 'fast'"}
    ]


def test_throughput_is_that_of_the_tasks_that_ran(cli: Cli, q: PrismQ) -> None:
    @q.task(name="add")
    def add(a: int) -> int:
        return a

    handles = [add.enqueue(number) for number in range(3)]
    with q.worker(concurrency=2, hints=False):
        for handle in handles:
            handle.result(30)
    found = cli("status", "--json").json
    assert found["last_hour"]["completed"] == found["last_24_hours"]["completed"] == 3
    assert found["last_hour"]["p95_run_seconds"] >= 0
    assert "3 completed (0.05 a minute), 0 failed" in cli("status").out
