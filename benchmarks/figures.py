"""What figures cost in front of ten million tasks, while a worker runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.harness import Check, Figure, Section, progress, quantile
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.sketch import Sketch
from prismq.domain.times import epoch_to_text
from prismq.observability.exposition import render_metrics
from prismq.observability.metrics import QueueMetrics
from prismq.observability.monitoring import QueueMonitoring
from prismq.storage.contract import Store
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.store import SqliteStore

QUEUES, TYPES = 5, 20  # a type belongs to one queue
PER_MINUTE = 20  # tasks of each type, all the time
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# (length of a slot, the oldest of that length), as folding leaves them.
_TIERS = ((_MINUTE, 3 * _HOUR), (10 * _MINUTE, 14 * _DAY), (_HOUR, 45 * _DAY), (_DAY, 400 * _DAY))
_OUTCOMES = {"enqueued": 1.0, "completed": 0.98, "retried": 0.05, "dead_letter": 0.02}

# Of 1,000 tasks: one is a dead letter, `failed` failed, one was cancelled, one is scheduled; the last are queued.
_ROWS = """
WITH RECURSIVE numbers(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM numbers WHERE i < :last)
INSERT INTO task_queue (type, queue, payload, priority, status, attempts, revision, run_after_utc, created_at_utc,
                        updated_at_utc, reserved_at_utc, processing_started_utc, finished_at_utc, locked_by,
                        error_message)
SELECT 'type-' || (i % :types), 'queue-' || (i % :types % :queues), '{"n":' || i || ',"path":"/data/' || i || '.bin"}',
       100, status, 1, 1, at, at, at, CASE WHEN ended THEN at END, CASE WHEN ended THEN at END,
       CASE WHEN ended THEN strftime('%Y-%m-%d %H:%M:%f', julianday(at) + (i % 5000) / 86400000.0) END,
       CASE WHEN ended THEN 'worker-1' END,
       CASE WHEN status IN ('failed', 'dead_letter') THEN 'ValueError: it broke' END
  FROM (SELECT i, at, status, status <> 'queued' AND status <> 'scheduled' AS ended
          FROM (SELECT i, strftime('%Y-%m-%d %H:%M:%f', :now - (:tasks - i) * :apart_s, 'unixepoch') AS at,
                       CASE WHEN i > :tasks - :queued THEN 'queued' WHEN i % 1000 = 1 THEN 'dead_letter'
                            WHEN i % 1000 = 2 THEN 'cancelled' WHEN i % 1000 = 3 THEN 'scheduled'
                            WHEN i % 1000 BETWEEN 4 AND 3 + :failed THEN 'failed' ELSE 'completed' END AS status
                  FROM numbers))"""
_DEPTH = """
INSERT INTO queue_depth
SELECT queue, type, status, 'normal', count(*) FROM task_queue GROUP BY 1, 2, 3"""
_STATS = """
INSERT INTO task_stats (slot_utc, span_s, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins,
                        run_bins, totalled)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"""


def build(path: Path, tasks: int, queued: int, days: float, failed: int = 1) -> None:
    """A queue that has run for `days` and holds so many tasks, with the books that its workers would have left."""
    store = SqliteStore(QueueDatabase(path))
    store.initialise()
    connection = store.database.get_connection()
    now = time.time()
    connection.execute("PRAGMA synchronous = OFF")
    chunk = 500_000
    for first in range(1, tasks + 1, chunk):
        progress(f"{first - 1:,} of {tasks:,} tasks")
        with store.database.transaction():
            connection.execute(
                _ROWS,
                {
                    "first": first, "last": min(tasks, first + chunk - 1), "tasks": tasks, "queued": queued, "now": now,
                    "types": TYPES, "queues": QUEUES, "apart_s": 60 / (PER_MINUTE * TYPES), "failed": failed,
                },
            )  # fmt: skip
    progress("the books")
    with store.database.transaction():
        connection.execute("UPDATE books SET booked_id = ?", (tasks,))
        connection.execute(_DEPTH)
        connection.executemany(_STATS, stats_of(now, days))
    connection.execute("DELETE FROM task_stats WHERE rowid IN (SELECT rowid FROM task_stats WHERE tasks = 0)")
    while store.upkeep.fold(time.time()):
        continue
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


def stats_of(now: float, days: float) -> Iterator[tuple[object, ...]]:
    rng = Random(1)
    youngest = now
    for span_s, oldest_s in _TIERS:
        until = youngest - youngest % span_s
        slots = int(min(oldest_s, days * _DAY) // span_s) - int((now - youngest) // span_s)
        for number in range(slots):
            slot = epoch_to_text(until - number * span_s)[:19]
            for outcome, part in _OUTCOMES.items():
                bins = _Drawn(rng, span_s, part)
                for type_ in range(TYPES):
                    yield (slot, span_s, f"queue-{type_ % QUEUES}", f"type-{type_}", outcome, *bins.of(outcome))
        youngest = until - slots * span_s


class _Drawn:
    """The sums of one slot: run times spread over three orders of magnitude, as those of real tasks are."""

    def __init__(self, rng: Random, span_s: int, part: float) -> None:
        self._tasks = max(1, round(PER_MINUTE * span_s / 60 * part))
        self._run, self._wait = Sketch(), Sketch()
        self._run_s = self._wait_s = 0.0
        for _ in range(min(self._tasks, 400)):
            run_s, wait_s = math.exp(rng.gauss(-1.0, 1.0)), math.exp(rng.gauss(-4.0, 1.5))
            n = max(1, self._tasks // 400)
            self._run.add(run_s, n)
            self._wait.add(wait_s, n)
            self._run_s += run_s * n
            self._wait_s += wait_s * n

    def of(self, outcome: str) -> tuple[object, ...]:
        if outcome == "enqueued":
            return self._run.count, 0, 0, 0.0, 0.0, None, None
        tasks = self._run.count
        return (tasks, tasks, 0, self._wait_s, self._run_s, self._wait.to_json(), self._run.to_json())


def measure(path: str, times: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Seconds that each call took, and of processor time; so many times, in turn. Then the views, which take long."""
    return ask(SqliteStore(QueueDatabase(path)), times)


def ask(store: Store, times: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The same of any store."""
    metrics, monitoring = QueueMetrics(store), QueueMonitoring(store)
    openmetrics = "application/openmetrics-text"
    calls: dict[str, Callable[[], object]] = {
        "get_queue_depth()": metrics.get_queue_depth,
        "get_queue_depth(type, status)": lambda: metrics.get_queue_depth("type-1", "queued"),
        "get_queue_depth_by_status()": metrics.get_queue_depth_by_status,
        "get_queue_depth_by_type()": metrics.get_queue_depth_by_type,
        "get_oldest_queued_task_age()": metrics.get_oldest_queued_task_age,
        "get_success_failure_rates(24)": metrics.get_success_failure_rates,
        "get_worker_activity()": metrics.get_worker_activity,
        "get_throughput_metrics(1)": metrics.get_throughput_metrics,
        "get_retry_metrics(24)": metrics.get_retry_metrics,
        "get_processing_time_percentiles(24)": metrics.get_processing_time_percentiles,
        "get_processing_time_percentiles(24, type)": lambda: metrics.get_processing_time_percentiles(24, "type-1"),
        "get_queue_health_summary()": metrics.get_queue_health_summary,
        "QueueMonitoring.get_queue_metrics()": monitoring.get_queue_metrics,
        "metrics text, Prometheus": lambda: render_metrics(store, SYSTEM_CLOCK),
        "metrics text, OpenMetrics": lambda: render_metrics(store, SYSTEM_CLOCK, openmetrics),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(times + 1):
        for name, call in calls.items():
            seconds = _timed(call)
            if turn:  # the first only warms up
                took[name].append(seconds)
            time.sleep(0.002)
    looked = {view: [_timed(partial(_read, store, view)) for _ in range(3)] for view in VIEWS}
    store.close()
    return {"calls": took, "views": looked}


VIEWS = (
    "v_worker_status",
    "v_recent_failures",
    "v_queue_status_summary",
    "v_queue_type_summary",
    "v_task_performance",
)


def tell(section: Section, found: dict[str, dict[str, list[tuple[float, float]]]], prefix: str = "") -> None:
    """What `ask` found, as lines and targets of a section."""
    for name, took in found["calls"].items():
        wall, cpu = ([times[which] * 1e3 for times in took] for which in (0, 1))
        p50, p95 = quantile(wall, 0.5), quantile(wall, 0.95)
        note = f"p95 {p95:.2f} ms, of {len(took)}"
        note += f"; processor time {quantile(cpu, 0.5):.2f} and {quantile(cpu, 0.95):.2f} ms"
        section.figures.append(Figure(name, f"{p50:.2f} ms", note))
        section.checks.append(Check(f"{prefix}{name}, p95", p95, at_most=25, unit="ms"))
    for name, took in found["views"].items():
        took_ms = quantile([wall for wall, _ in took], 0.5) * 1e3
        section.figures.append(Figure(f"SELECT * FROM {name}", f"{took_ms:,.1f} ms"))


def _read(store: Any, view: str) -> list[Any]:
    if isinstance(store, SqliteStore):
        return store.database.execute(f"SELECT * FROM {view}").fetchall()
    with store.database.transaction() as connection:  # the views take longer than a statement of the queue may
        connection.answer_s = None
        connection.execute("SET LOCAL statement_timeout = 0")
        found: list[Any] = connection.execute(f"SELECT * FROM {view}").fetchall()
    return found


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    begin, cpu = time.perf_counter(), time.thread_time()
    call()
    return time.perf_counter() - begin, time.thread_time() - cpu
