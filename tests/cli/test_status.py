"""`prismq status`."""

from __future__ import annotations

import json

from prismq import PrismQ
from tests.cli.conftest import Cli, add_worker, set_task


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
