"""WorkerHeartbeat and QueueMonitoring: every key, over rows by hand."""

from __future__ import annotations

import json

import pytest

from prismq import (
    InvalidArgument,
    QueueDatabase,
    QueueDatabaseError,
    QueueMetrics,
    QueueMonitoring,
    TaskLogger,
    Worker,
    WorkerHeartbeat,
)
from tests.helpers.by_hand import insert, insert_worker


def test_a_heartbeat_makes_a_worker_and_changes_what_it_offers(db: QueueDatabase) -> None:
    heartbeat = WorkerHeartbeat(db)
    heartbeat.update_heartbeat("w1", {"type": "classifier", "version": "1.0"})
    heartbeat.update_heartbeat("w1", {"type": "classifier", "version": "2.0"})
    [worker] = heartbeat.get_active_workers()
    assert isinstance(worker, Worker)
    assert (worker.worker_id, worker.get_capabilities_dict()["version"]) == ("w1", "2.0")
    for wrong in ({"x": object()}, {"x": float("nan")}, 7):
        with pytest.raises(InvalidArgument, match="capabilities of worker 'w1'"):
            heartbeat.update_heartbeat("w1", wrong)  # type: ignore[arg-type]


def test_workers_are_active_or_stale_by_their_heartbeat(db: QueueDatabase) -> None:
    for worker, silent_s in (("fresh", 0), ("late", 200), ("stale", 400), ("gone", 4000)):
        insert_worker(db, worker, silent_s)
    db.execute("INSERT INTO workers (worker_id, heartbeat_utc) VALUES ('strange', 'yesterday')")
    db.execute("INSERT INTO workers (worker_id, status) VALUES ('stopped', 'stopped')")
    heartbeat = WorkerHeartbeat(db)

    assert heartbeat.stale_threshold_seconds == 300
    assert [worker.worker_id for worker in heartbeat.get_active_workers()] == ["fresh", "late"]
    assert {worker.worker_id for worker in heartbeat.get_stale_workers()} == {"stale", "gone", "strange"}
    short = WorkerHeartbeat(db, stale_threshold_seconds=100)
    assert [worker.worker_id for worker in short.get_active_workers()] == ["fresh"]
    with pytest.raises(InvalidArgument, match="stale_threshold_seconds"):
        WorkerHeartbeat(db, stale_threshold_seconds=0)


def test_stale_workers_are_cleaned_up_unless_they_hold_tasks(db: QueueDatabase) -> None:
    for worker, silent_s in (("fresh", 0), ("idle", 400), ("holding", 400)):
        insert_worker(db, worker, silent_s)
    insert(db, status="processing", locked_by="holding")
    insert(db, status="completed", locked_by="idle")
    heartbeat = WorkerHeartbeat(db)

    assert heartbeat.cleanup_stale_workers() == 1
    assert [worker.worker_id for worker in heartbeat.get_stale_workers()] == ["holding"]
    assert heartbeat.cleanup_stale_workers() == 0
    assert heartbeat.cleanup_stale_workers(force=True) == 1
    assert [row["worker_id"] for row in heartbeat.get_all_workers_summary()] == ["fresh"]


def test_the_statistics_of_a_worker(db: QueueDatabase) -> None:
    insert(db, status="completed", locked_by="w1")  # before its row is there, and without a time
    insert_worker(db, "w1", 5, '{"type": "a"}')
    insert_worker(db, "w2", 400)
    for status in ("completed", "completed", "failed", "processing", "claimed", "queued"):
        insert(db, status=status, locked_by="w1", finished_at_utc="now-60" if status == "failed" else None)
    heartbeat = WorkerHeartbeat(db)
    stats = heartbeat.get_worker_stats("w1")

    assert list(stats) == [
        "worker_id", "capabilities", "heartbeat_utc", "seconds_since_heartbeat", "is_active", "active_tasks_count",
        "total_tasks_processed", "completed_tasks", "failed_tasks", "success_rate",
    ]  # fmt: skip
    assert (stats["worker_id"], stats["capabilities"], stats["is_active"]) == ("w1", '{"type": "a"}', True)
    assert (stats["active_tasks_count"], stats["total_tasks_processed"]) == (2, 4)
    assert (stats["completed_tasks"], stats["failed_tasks"], stats["success_rate"]) == (3, 1, 0.75)
    idle = heartbeat.get_worker_stats("w2")
    assert (idle["is_active"], idle["total_tasks_processed"], idle["success_rate"]) == (False, 0, 0.0)
    with pytest.raises(QueueDatabaseError, match="no worker 'nobody'"):
        heartbeat.get_worker_stats("nobody")


def test_the_summary_of_all_workers(db: QueueDatabase) -> None:
    insert_worker(db, "stale", 400)
    insert_worker(db, "active", 1)
    insert(db, status="processing", locked_by="active")
    rows = WorkerHeartbeat(db).get_all_workers_summary()

    assert [list(row) for row in rows] == [
        ["worker_id", "capabilities", "heartbeat_utc", "seconds_since_heartbeat", "is_active", "active_tasks"]
    ] * 2
    assert [(row["worker_id"], row["is_active"], row["active_tasks"]) for row in rows] == [
        ("active", True, 1), ("stale", False, 0),
    ]  # fmt: skip


def test_what_stale_workers_hold_is_taken_back(db: QueueDatabase) -> None:
    insert_worker(db, "stale", 400)
    insert_worker(db, "active", 1)
    back = [insert(db, status=status, locked_by="stale", attempts=1) for status in ("processing", "claimed")]
    spent = insert(db, status="processing", locked_by="stale", attempts=5)
    kept = [insert(db, status="processing", locked_by="active"), insert(db, status="completed", locked_by="stale")]
    heartbeat = WorkerHeartbeat(db)

    assert heartbeat.reclaim_stale_worker_tasks() == 3
    assert heartbeat.reclaim_stale_worker_tasks() == 0
    statuses = dict(tuple(row) for row in db.execute("SELECT id, status FROM task_queue"))
    assert [statuses[task_id] for task_id in (*back, spent, *kept)] == [
        "queued", "queued", "dead_letter", "processing", "completed",
    ]  # fmt: skip
    assert {row["locked_by"] for row in db.execute("SELECT locked_by FROM task_queue WHERE status = 'queued'")} == {
        None
    }
    assert "no heartbeat for more than 300 s" in (TaskLogger(db).get_task_logs(spent)[0].message or "")
    assert heartbeat.cleanup_stale_workers() == 1
    metrics = QueueMetrics(db)
    assert metrics.get_queue_depth_by_status() == {"queued": 2, "dead_letter": 1, "processing": 1, "completed": 1}
    assert metrics.get_success_failure_rates()["failure_count"] == 1


def test_a_worker_is_registered_updated_and_removed(db: QueueDatabase) -> None:
    monitoring = QueueMonitoring(db)
    monitoring.register_worker("worker-01", {"cpu": 8, "types": ["video", "audio"]})
    monitoring.register_worker("worker-02")
    monitoring.register_worker("worker-01", {"cpu": 16})

    assert {worker.worker_id for worker in monitoring.get_all_workers()} == {"worker-01", "worker-02"}
    worker = monitoring.get_worker("worker-01")
    assert worker is not None
    assert worker.get_capabilities_dict() == {"cpu": 16}
    other = monitoring.get_worker("worker-02")
    assert other is not None
    assert other.capabilities == "{}"
    assert monitoring.get_worker("nobody") is None
    assert monitoring.update_heartbeat("worker-01") is True
    assert monitoring.update_heartbeat("nobody") is False
    assert monitoring.remove_worker("worker-01") is True
    assert monitoring.remove_worker("worker-01") is False


def test_a_heartbeat_brings_a_stale_worker_back(db: QueueDatabase) -> None:
    monitoring = QueueMonitoring(db)
    for worker, silent_s in (("fresh", 1), ("late", 90), ("stale", 400)):
        insert_worker(db, worker, silent_s, '{"kept": 1}')

    def names(workers: list[Worker]) -> list[str]:
        return [worker.worker_id for worker in workers]

    assert names(monitoring.get_all_workers()) == ["fresh", "late", "stale"]
    assert names(monitoring.get_active_workers()) == ["fresh"]
    assert names(monitoring.get_active_workers(active_threshold_seconds=200)) == ["fresh", "late"]
    assert names(monitoring.get_stale_workers()) == ["stale"]
    assert names(monitoring.get_stale_workers(stale_threshold_seconds=60)) == ["late", "stale"]
    assert monitoring.update_heartbeat("stale")
    assert monitoring.get_stale_workers() == []
    back = monitoring.get_worker("stale")
    assert back is not None
    assert back.get_capabilities_dict() == {"kept": 1}


def test_the_queue_metrics_of_an_empty_queue(db: QueueDatabase) -> None:
    assert QueueMonitoring(db).get_queue_metrics() == {
        "queue_depth_by_status": {}, "queue_depth_by_type": {}, "oldest_queued_task_age_seconds": None,
        "task_statistics": {"completed": 0, "failed": 0, "dead_letter": 0, "cancelled": 0, "finished": 0},
        "success_rate": None, "failure_rate": None, "total_workers": 0, "active_workers": 0, "stale_workers": 0,
    }  # fmt: skip


def test_the_queue_metrics(db: QueueDatabase) -> None:
    for status, count in (("queued", 3), ("processing", 1), ("completed", 6), ("failed", 1), ("dead_letter", 1), ("cancelled", 2)):  # fmt: skip  # noqa: E501
        for _ in range(count):
            insert(db, status=status, created_at_utc="now-45")
    insert(db, type="other")
    for worker, silent_s in (("fresh", 1), ("late", 90), ("stale", 400)):
        insert_worker(db, worker, silent_s)
    metrics = QueueMonitoring(db).get_queue_metrics()

    assert 45 <= metrics.pop("oldest_queued_task_age_seconds") <= 50
    assert metrics == {
        "queue_depth_by_status": {
            "queued": 4, "processing": 1, "completed": 6, "failed": 1, "dead_letter": 1, "cancelled": 2,
        },
        "queue_depth_by_type": {"test": 3, "other": 1},
        "task_statistics": {"completed": 6, "failed": 1, "dead_letter": 1, "cancelled": 2, "finished": 8},
        "success_rate": 0.75, "failure_rate": 0.25, "total_workers": 3, "active_workers": 1, "stale_workers": 1,
    }  # fmt: skip


def test_the_activity_of_workers(db: QueueDatabase) -> None:
    insert_worker(db, "older", 100)
    insert_worker(db, "newer", 5, '{"cpu": 8}')
    rows = QueueMonitoring(db).get_worker_activity()
    assert [list(row) for row in rows] == [
        ["worker_id", "capabilities", "heartbeat_utc", "seconds_since_heartbeat"]
    ] * 2
    assert [row["worker_id"] for row in rows] == ["newer", "older"]
    assert json.loads(rows[0]["capabilities"]) == {"cpu": 8}
    assert 5 <= rows[0]["seconds_since_heartbeat"] <= 8
    assert isinstance(rows[0]["seconds_since_heartbeat"], int)
