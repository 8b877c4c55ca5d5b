"""QueueMetrics: every key, over rows by hand and rows by workers."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import pytest

from prismq import (
    InvalidArgument,
    PrismQ,
    QueueDatabase,
    QueueMetrics,
    QueueMonitoring,
    TaskLogger,
    WorkerHeartbeat,
)
from tests.helpers.by_hand import insert, insert_worker
from tests.helpers.processes import wait_until
from tests.integration.support import Gate, a_worker, wait_status

WAIT_S = 15.0


def test_an_empty_queue_has_zeros(db: QueueDatabase) -> None:
    metrics = QueueMetrics(db)
    assert metrics.get_queue_depth() == 0
    assert metrics.get_queue_depth_by_status() == metrics.get_queue_depth_by_type() == {}
    assert metrics.get_oldest_queued_task_age() is None
    assert metrics.get_worker_activity() == []
    assert metrics.get_success_failure_rates() == {
        "success_count": 0, "failure_count": 0, "total_count": 0, "success_rate": 0.0, "failure_rate": 0.0,
    }  # fmt: skip
    assert metrics.get_throughput_metrics() == {
        "tasks_completed": 0, "tasks_per_minute": 0.0, "avg_processing_time_seconds": 0.0,
    }  # fmt: skip
    assert metrics.get_retry_metrics() == {
        "total_tasks": 0, "tasks_with_retries": 0, "retry_rate": 0.0, "avg_attempts": 0.0, "max_attempts_reached": 0,
    }  # fmt: skip
    assert metrics.get_processing_time_percentiles() == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


def test_depth_is_by_type_and_by_status(db: QueueDatabase) -> None:
    for status in ("queued", "queued", "processing", "completed"):
        insert(db, status=status)
    insert(db, type="other")
    metrics = QueueMetrics(db)

    assert metrics.get_queue_depth() == 5
    assert metrics.get_queue_depth(status="queued") == 3
    assert metrics.get_queue_depth(task_type="test") == 4
    assert metrics.get_queue_depth(task_type="test", status="queued") == 2
    assert metrics.get_queue_depth("nothing") == metrics.get_queue_depth(status="nothing") == 0
    assert metrics.get_queue_depth_by_status() == {"queued": 3, "processing": 1, "completed": 1}
    assert metrics.get_queue_depth_by_type() == {"test": 4, "other": 1}


def test_the_oldest_queued_task_has_an_age(db: QueueDatabase) -> None:
    insert(db, created_at_utc="now-10")
    insert(db, created_at_utc="now-120")
    insert(db, created_at_utc="now-900", status="processing")
    age = QueueMetrics(db).get_oldest_queued_task_age()
    assert isinstance(age, int)
    assert 120 <= age <= 125


def test_rates_are_of_what_ended_in_the_window(db: QueueDatabase) -> None:
    for _ in range(7):
        insert(db, status="completed", finished_at_utc="now-60")
    insert(db, status="failed", finished_at_utc="now-60")
    insert(db, status="failed", finished_at_utc="now-60")
    insert(db, status="dead_letter", finished_at_utc="now-60")
    insert(db, status="cancelled", finished_at_utc="now-60")
    insert(db, status="completed", finished_at_utc="now-180000")
    insert(db, status="completed")  # nobody knows when
    metrics = QueueMetrics(db)

    assert metrics.get_success_failure_rates(hours=24) == {
        "success_count": 7, "failure_count": 3, "total_count": 10, "success_rate": 0.7, "failure_rate": 0.3,
    }  # fmt: skip
    assert metrics.get_success_failure_rates(hours=72)["success_count"] == 8
    assert metrics.get_success_failure_rates(hours=0.5)["total_count"] == 10


def test_throughput_is_completed_tasks_over_the_window(db: QueueDatabase) -> None:
    for _ in range(30):
        insert(db, status="completed", processing_started_utc="now-70", finished_at_utc="now-60")
    for _ in range(30):
        insert(db, status="completed", processing_started_utc="now-80", finished_at_utc="now-60")
    insert(db, status="completed", finished_at_utc="now-60")
    insert(db, status="failed", processing_started_utc="now-1000", finished_at_utc="now-60")
    throughput = QueueMetrics(db).get_throughput_metrics(hours=1)

    assert (throughput["tasks_completed"], throughput["tasks_per_minute"]) == (61, pytest.approx(61 / 60))
    assert throughput["avg_processing_time_seconds"] == pytest.approx(15.0, abs=0.01)
    assert QueueMetrics(db).get_throughput_metrics(hours=2)["tasks_per_minute"] == pytest.approx(61 / 120)


def test_retries_are_those_with_more_than_one_attempt(db: QueueDatabase) -> None:
    for attempts in (1, 1, 3):
        insert(db, status="completed", finished_at_utc="now-60", attempts=attempts)
    insert(db, status="dead_letter", finished_at_utc="now-60", attempts=5, max_attempts=5)
    insert(db, status="failed", finished_at_utc="now-60", attempts=4, max_attempts=4)
    insert(db, status="failed", finished_at_utc="now-60", attempts=1, max_attempts=4)
    assert QueueMetrics(db).get_retry_metrics(hours=24) == {
        "total_tasks": 6, "tasks_with_retries": 3, "retry_rate": 0.5, "avg_attempts": 2.5, "max_attempts_reached": 2,
    }  # fmt: skip


def test_percentiles_are_within_two_per_cent_and_by_type(db: QueueDatabase) -> None:
    for seconds in range(1, 101):
        insert(db, status="completed", processing_started_utc=f"now-{1000 + seconds}", finished_at_utc="now-1000")
    insert(db, type="slow", status="completed", processing_started_utc="now-7200", finished_at_utc="now-1000")
    insert(db, type="slow", status="failed", processing_started_utc="now-9000", finished_at_utc="now-1000")
    metrics = QueueMetrics(db)

    found = metrics.get_processing_time_percentiles(hours=24, task_type="test")
    assert found == {
        "p50": pytest.approx(50, rel=0.03),
        "p95": pytest.approx(95, rel=0.03),
        "p99": pytest.approx(99, rel=0.03),
    }
    assert metrics.get_processing_time_percentiles(task_type="slow")["p50"] == pytest.approx(6200, rel=0.021)
    assert metrics.get_processing_time_percentiles(hours=0.1) == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf")])
def test_a_window_is_a_number_above_zero(db: QueueDatabase, hours: float) -> None:
    metrics = QueueMetrics(db)
    for ask in (
        metrics.get_success_failure_rates, metrics.get_throughput_metrics, metrics.get_retry_metrics,
        metrics.get_processing_time_percentiles,
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match="hours"):
            ask(hours=hours)


def test_worker_activity_has_a_row_for_each_worker(db: QueueDatabase) -> None:
    insert_worker(db, "quiet", 400, '{"type": "b"}')
    insert_worker(db, "busy", 5, '{"type": "a"}')
    insert(db, status="processing", locked_by="busy")
    insert(db, status="claimed", locked_by="busy")
    insert(db, status="completed", locked_by="busy")
    busy, quiet = QueueMetrics(db).get_worker_activity()

    assert list(busy) == ["worker_id", "capabilities", "heartbeat_utc", "seconds_since_heartbeat", "active_tasks"]
    assert (busy["worker_id"], busy["capabilities"], busy["active_tasks"]) == ("busy", '{"type": "a"}', 2)
    assert (quiet["worker_id"], quiet["active_tasks"]) == ("quiet", 0)
    assert 5 <= busy["seconds_since_heartbeat"] <= 8
    assert 400 <= quiet["seconds_since_heartbeat"] <= 403
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", busy["heartbeat_utc"])


def test_the_health_summary_has_it_all(db: QueueDatabase) -> None:
    insert(db, created_at_utc="now-30")
    insert(db, status="processing")
    insert(db, status="completed", processing_started_utc="now-70", finished_at_utc="now-60", attempts=1)
    insert_worker(db, "w1")
    insert_worker(db, "silent", 400)
    metrics = QueueMetrics(db)
    summary = metrics.get_queue_health_summary()

    assert list(summary) == [
        "queue_depth", "oldest_queued_task_age_seconds", "success_failure_rates_24h", "throughput_1h",
        "active_workers", "retry_metrics_24h", "timestamp",
    ]  # fmt: skip
    assert summary["queue_depth"] == {"queued": 1, "processing": 1, "completed": 1}
    assert 30 <= summary["oldest_queued_task_age_seconds"] <= 33
    assert summary["success_failure_rates_24h"] == metrics.get_success_failure_rates(24)
    assert summary["throughput_1h"] == metrics.get_throughput_metrics(1)
    assert summary["retry_metrics_24h"] == metrics.get_retry_metrics(24)
    assert summary["active_workers"] == 1
    assert datetime.fromisoformat(summary["timestamp"]).utcoffset() == timedelta(0)
    assert json.loads(json.dumps(summary)) == summary


def test_the_figures_of_a_queue_that_a_worker_serves(q: PrismQ) -> None:
    gate = Gate()
    tries: list[int] = []

    @q.task(name="quick")
    def quick() -> None: ...

    @q.task(name="flaky", max_attempts=3)
    def flaky() -> None:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("the first time")

    @q.task(name="hopeless", max_attempts=1)
    def hopeless() -> None:
        raise ValueError("every time")

    @q.task(name="long")
    def long() -> None:
        gate.pass_through()

    metrics, heartbeat, logger = QueueMetrics(q), WorkerHeartbeat(q), TaskLogger(q)
    with a_worker(q, capabilities={"region": "eu"}, heartbeat_interval_seconds=0.2):
        handles = [quick.enqueue() for _ in range(20)]
        flaked, lost, running = flaky.enqueue(), hopeless.enqueue(), long.enqueue()
        gate.wait_entered()
        for handle in handles:
            wait_status(handle, "completed")
        wait_status(flaked, "completed")
        wait_status(lost, "dead_letter")
        wait_status(running, "processing", "claimed")

        [row] = metrics.get_worker_activity()
        assert row["active_tasks"] == 1
        assert json.loads(row["capabilities"]) == {"region": "eu"}
        worker_id = row["worker_id"]
        stats = wait_until(
            lambda: (found := heartbeat.get_worker_stats(worker_id))["total_tasks_processed"] == 22 and found,
            "the worker's own report", WAIT_S,
        )  # fmt: skip
        assert (stats["completed_tasks"], stats["failed_tasks"], stats["active_tasks_count"]) == (21, 1, 1)
        assert stats["is_active"] is True
        assert [worker.worker_id for worker in heartbeat.get_active_workers()] == [worker_id]
        assert metrics.get_queue_health_summary()["active_workers"] == 1
        assert heartbeat.reclaim_stale_worker_tasks() == heartbeat.cleanup_stale_workers(force=True) == 0
        gate.open()
        wait_status(running, "completed")

    assert metrics.get_queue_depth_by_status() == {"completed": 22, "dead_letter": 1}
    assert metrics.get_success_failure_rates()["success_count"] == 22
    assert metrics.get_success_failure_rates()["failure_count"] == 1
    retries = metrics.get_retry_metrics()
    assert (retries["total_tasks"], retries["tasks_with_retries"], retries["max_attempts_reached"]) == (23, 1, 1)
    assert retries["avg_attempts"] == pytest.approx(24 / 23)
    assert metrics.get_throughput_metrics()["tasks_completed"] == 22
    assert metrics.get_processing_time_percentiles(task_type="long")["p50"] > 0
    assert QueueMonitoring(q).get_queue_metrics()["success_rate"] == pytest.approx(22 / 23)
    # A worker that said goodbye is neither active nor stale.
    assert heartbeat.get_active_workers() == heartbeat.get_stale_workers() == []
    assert QueueMonitoring(q).get_queue_metrics()["total_workers"] == 1

    retry = next(line for line in logger.get_task_logs(flaked.id) if line.level == "WARNING")
    assert "attempt 1/3" in (retry.message or "")
    assert {"attempt", "max_attempts", "next_run_after", "stack_trace"} <= set(retry.get_details_dict())
    assert {line.level for line in logger.get_recent_logs(level="ERROR")} == {"ERROR"}
