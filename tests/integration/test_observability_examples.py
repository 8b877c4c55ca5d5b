"""The classes that watch a queue: what they are built over, and the calls that are made of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from prismq import (
    InvalidArgument,
    PrismQ,
    QueueDatabase,
    QueueDatabaseError,
    QueueLogger,
    QueueMetrics,
    QueueMonitoring,
    TaskLogger,
    WorkerHeartbeat,
)
from tests.helpers.by_hand import insert
from tests.helpers.engines import ENGINES


def test_they_work_over_a_database_a_queue_and_a_store(db: QueueDatabase, q: PrismQ) -> None:
    insert(db)
    q.enqueue("job")
    for source in (db, q, q.store):
        assert QueueMetrics(source).get_queue_depth() == 1
        assert QueueMonitoring(source).get_queue_metrics()["queue_depth_by_status"] == {"queued": 1}
        assert WorkerHeartbeat(source).get_active_workers() == []
        TaskLogger(source).log(1, "INFO", "here")
        assert next(line.message for line in TaskLogger(source).get_recent_logs()) == "here"


@pytest.mark.parametrize("engine_name", list(ENGINES))
def test_they_work_over_the_database_object_of_each_engine(engine_name: str, tmp_path: Path) -> None:
    with ENGINES[engine_name](tmp_path) as engine:
        engine.hand("INSERT INTO task_queue (type, payload, status, locked_by) VALUES ('t', '{}', 'completed', 'w1')")
        database = engine.store.database  # type: ignore[attr-defined]  # every engine's store has one
        WorkerHeartbeat(database).update_heartbeat("w1", {"cpu": 8})
        TaskLogger(database).log(1, "INFO", "here")
        assert QueueMetrics(database).get_queue_depth_by_status() == {"completed": 1}
        assert WorkerHeartbeat(database).get_worker_stats("w1")["completed_tasks"] == 1
        assert QueueMonitoring(database).get_queue_metrics()["success_rate"] == 1.0
        assert [line.message for line in TaskLogger(database).get_recent_logs()] == ["here"]
        [activity] = QueueMonitoring(database).get_worker_activity()
        assert (activity["capabilities"], activity["worker_id"]) == ('{"cpu": 8}', "w1")


@pytest.mark.parametrize("wrong", ["queue.db", None, 7, Path("queue.db")])
def test_something_else_is_refused_with_what_would_be_right(wrong: Any) -> None:
    for kind in (TaskLogger, QueueLogger, QueueMetrics, WorkerHeartbeat, QueueMonitoring):
        with pytest.raises(InvalidArgument, match=r"QueueDatabase\(path\) or PrismQ\(path\)"):
            kind(wrong)


def test_a_connection_is_not_a_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, pytest.raises(InvalidArgument):
        QueueMetrics(connection)


def test_a_file_without_a_queue_says_what_to_do(tmp_path: Path) -> None:
    with QueueDatabase(tmp_path / "empty.db") as empty:
        for ask in (QueueMetrics(empty).get_queue_depth, QueueMonitoring(empty).get_queue_metrics):
            with pytest.raises(QueueDatabaseError, match="prismq init"):
                ask()


def test_the_calls_of_every_usage_example_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", str(tmp_path / "examples.db"))
    db = QueueDatabase()
    db.initialize_schema()

    # Observability, basic use: a task that does not exist costs nothing but a warning.
    logger, metrics = TaskLogger(db), QueueMetrics(db)
    logger.log(task_id=123, level="INFO", message="begins")
    depth = metrics.get_queue_depth(status="queued")
    rate = metrics.get_success_failure_rates(hours=24)
    age = metrics.get_oldest_queued_task_age()
    print(f"{depth} {rate['success_rate']:.2%} {age}s")
    assert capsys.readouterr().out == "0 0.00% Nones\n"

    # Dashboard queries over the views.
    connection = db.get_connection()
    assert [dict(row) for row in connection.execute("SELECT * FROM v_queue_status_summary").fetchall()] == []
    live = "SELECT * FROM v_worker_status WHERE seconds_since_heartbeat < 300 ORDER BY active_tasks DESC"
    assert [dict(row) for row in connection.execute(live).fetchall()] == []

    # Rows by hand, the module's components over them.
    with db.transaction() as opened:
        opened.execute(
            "INSERT INTO task_queue (type, payload, priority) VALUES (?, ?, ?)", ("video", '{"format": "mp4"}', 50)
        )
    queue_logger, heartbeat = QueueLogger(db), WorkerHeartbeat(db)
    queue_logger.log_task_event(task_id=123, level="INFO", message="begins")
    queue_logger.log_task_transition(task_id=1, from_status="queued", to_status="processing")
    health = metrics.get_queue_health_summary()
    print(f"{health['queue_depth']} {health['success_failure_rates_24h']['success_rate']:.1%}")
    assert capsys.readouterr().out == "{'queued': 1} 0.0%\n"
    heartbeat.update_heartbeat("worker-1", {"type": "classifier", "version": "1.0"})
    assert len(heartbeat.get_active_workers()) == 1
    assert heartbeat.get_stale_workers() == []
    assert heartbeat.cleanup_stale_workers() == 0

    # Monitoring: registration, heartbeats, staleness, figures.
    monitoring = QueueMonitoring(db)
    monitoring.register_worker("worker-01", {"cpu": 8, "memory_gb": 16, "gpu": True, "types": ["video", "audio"]})
    monitoring.register_worker("worker-02")
    monitoring.register_worker("worker-01", {"cpu": 16})
    assert monitoring.update_heartbeat("worker-01")
    worker = monitoring.get_worker("worker-01")
    assert worker
    assert worker.worker_id
    assert worker.get_capabilities_dict()
    assert worker.heartbeat_utc
    assert len(monitoring.get_all_workers()) == 3
    assert len(monitoring.get_active_workers(active_threshold_seconds=60)) == 3
    assert len(monitoring.get_active_workers(active_threshold_seconds=300)) == 3
    db.execute("UPDATE workers SET heartbeat_utc = datetime('now', '-1 hour') WHERE worker_id = 'worker-02'")
    for stale in monitoring.get_stale_workers(stale_threshold_seconds=300):
        assert monitoring.remove_worker(stale.worker_id)
    figures = monitoring.get_queue_metrics()
    print(figures["queue_depth_by_status"].get("queued", 0), figures["queue_depth_by_status"].get("failed", 0))
    print(figures["success_rate"], figures["active_workers"], figures["total_workers"], figures["stale_workers"])
    assert capsys.readouterr().out == "1 0\nNone 2 2 0\n"
    assert figures["oldest_queued_task_age_seconds"] / 60 < 1
    for activity in monitoring.get_worker_activity():
        assert activity["seconds_since_heartbeat"] < 60
        assert isinstance(json.loads(activity["capabilities"]), dict)
    assert monitoring.remove_worker("worker-01")
    db.close()
    with pytest.raises(QueueDatabaseError):
        WorkerHeartbeat(QueueDatabase(tmp_path / "other.db")).update_heartbeat("worker-01", {})
