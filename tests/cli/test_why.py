"""`prismq why`, `prismq tasks timeline` and `prismq health`."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

from prismq import PrismQ
from tests.cli.conftest import Cli, add_worker, set_task


def test_it_is_said_why_a_task_does_not_run_and_what_to_do(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {}, queue="sums")
    q.tasks.pause("sums", by="ann")
    answer = cli("why", 1)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert re.fullmatch(r"  ! The queue 'sums' was paused by ann (just now|.* ago)\.", lines.pop(1))
    assert lines == [
        "Task 1 (add, queue sums) is queued.",
        "      → prismq queues resume sums",
        "  ! No worker is running.",
        "      → start one: prismq worker module:app",
        "It does not run until that is mended.",
    ]


def test_it_is_said_when_a_task_should_start(cli: Cli, q: PrismQ) -> None:
    add_worker(q)
    q.enqueue("add", {}, delay=3600)
    lines = cli("why", 1).out.splitlines()
    assert lines[0] == "Task 1 (add, queue default) is scheduled."
    assert lines[1].startswith("  - It is scheduled to run in ")
    assert lines[-1].startswith("Expected to start at ")


def test_the_reasons_are_there_for_programs(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    found = cli("why", 1, "--json").json
    assert set(found) == {
        "task_id", "type", "queue", "state", "at_utc", "sentence", "blocked", "expected_at_utc", "expected", "reasons",
    }  # fmt: skip
    assert found["reasons"] == [
        {
            "code": "no_worker",
            "text": "No worker is running.",
            "blocks": True,
            "advice": "start one: prismq worker module:app",
            "data": {"silent": []},
        }
    ]


def test_a_task_that_is_not_there_ends_with_1(cli: Cli, q: PrismQ) -> None:
    for command in (("why", 9), ("tasks", "timeline", 9)):
        answer = cli(*command)
        assert (answer.code, answer.out) == (1, "")
        assert "there is no task 9" in answer.err


def test_the_story_of_a_task(cli: Cli, q: PrismQ) -> None:
    @q.task(name="add")
    def add(a: int) -> int:
        return a

    handle = add.enqueue(1)
    with q.worker(concurrency=1, hints=False):
        handle.result(30)
    answer = cli("tasks", "timeline", handle.id)
    assert answer.code == 0
    shown = answer.out.splitlines()
    assert shown[0] == "Task 1: add is completed"
    assert shown[1].endswith("enqueued on default")
    assert "attempt 1 completed after" in shown[-1]
    found = cli("tasks", "timeline", handle.id, "--json").json
    assert [one["kind"] for one in found] == ["enqueued", "claimed", "started", "completed"]
    page = cli("tasks", "show", handle.id, "--json").json
    assert page["timeline"] == found
    assert page["why_it_waits"] is None


def test_show_says_why_a_task_waits(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("tasks", "show", 1, "--json").json["why_it_waits"] == "No worker is running."


# -- health


def test_a_healthy_queue_ends_with_0(cli: Cli, q: PrismQ) -> None:
    add_worker(q)
    answer = cli("health")
    assert answer.code == 0
    assert answer.out.splitlines()[0] == "Healthy: nothing is ready or running, 1 worker is live."
    assert "not configured" in answer.out


def test_a_degraded_one_with_1_and_an_unhealthy_one_with_2(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {}, delay=3600)
    assert cli("health").code == 1
    q.enqueue("add", {})
    answer = cli("health", "--json")
    assert answer.code == 2
    assert answer.json["status"] == "unhealthy"
    assert set(answer.json) == {"status", "version", "timestamp", "checks", "sentence", "problems"}
    assert set(answer.json["checks"]) == {
        "database", "redis", "workers", "api", "progress", "backlog", "failures", "dead_letters", "disk",
    }  # fmt: skip


def test_dead_letters_without_a_worker_are_not_healthy(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    set_task(q, 1, status="dead_letter")
    answer = cli("status")
    assert answer.code == 1
    assert answer.out.splitlines()[0] == "Degraded: No worker is running: what is enqueued will wait."


def test_a_worker_that_claims_nothing_is_named(cli: Cli, q: PrismQ) -> None:
    from prismq.domain.times import from_epoch

    q.enqueue("add", {})
    set_task(q, 1, run_after_utc="2020-01-01 00:00:00.000")
    began = from_epoch(q.clock.now() - 3600)
    add_worker(q, started_at_utc=began, last_claim_utc=began)
    q.store.database.execute("UPDATE workers SET started_at_utc = last_claim_utc")
    answer = cli("health")
    assert answer.code == 2
    assert "Worker host-0-abc123 is alive with 8 free slots, but has claimed nothing for 1 h" in answer.out
    assert "not consuming" in cli("workers", "list").out


@pytest.mark.parametrize("part", ["database", "redis", "workers"])
def test_a_part_alone_has_its_document(cli: Cli, q: PrismQ, part: str) -> None:
    add_worker(q)
    answer = cli("health", part, "--json")
    assert answer.code == 0
    assert set(answer.json) == {
        "database": {"status", "connection_pool", "query_latency_ms"},
        "redis": {"status", "memory_mb", "connected_clients", "ops_per_second"},
        "workers": {"status", "active_workers", "total_workers", "healthy_workers", "unhealthy_workers"},
    }[part]  # fmt: skip
    assert cli("health", part).code == 0
    assert cli("health", "api").code == 2


def test_probes_say_yes_or_no(cli: Cli, q: PrismQ) -> None:
    assert cli("health", "--probe", "live").code == 0
    answer = cli("health", "--probe", "ready", "--json")
    assert (answer.code, answer.json) == (1, {"probe": "ready", "ok": False, "reason": "no worker takes tasks"})
    add_worker(q)
    assert cli("health", "--probe", "ready").out.strip() == (
        "ready: the database can be read and written, and a worker takes tasks"
    )
    q.store.database.execute("UPDATE workers SET status = 'paused'")
    assert cli("health", "--probe", "ready").code == 1


def test_a_database_that_somebody_has_locked_is_unhealthy_and_the_answer_comes_in_time(cli: Cli, q: PrismQ) -> None:
    add_worker(q)
    with closing(sqlite3.connect(q.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = cli("health", "--timeout", "200ms", "--json")
        assert answer.code == 2
        document = json.loads(answer.out)
        assert document["problems"] == ["The database cannot be used: it did not answer within 0.2 s."]
        assert cli("health", "--probe", "live").code == 0
        assert cli("health", "--probe", "ready", "--timeout", "200ms").code == 1
        other.execute("ROLLBACK")
