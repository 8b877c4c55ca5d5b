"""Figures of the whole queue, from the books: as quick at ten million tasks as at ten."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from prismq.clock import Clock
from prismq.domain.errors import InvalidArgument
from prismq.domain.sketch import Sketch
from prismq.domain.times import from_epoch
from prismq.observability.liveness import STALE_S, is_active, row_of
from prismq.observability.source import source_of
from prismq.storage.contract import Outcomes

_HOUR_S = 3600.0
_ENDED = ("completed", "failed", "dead_letter")


class QueueMetrics:
    """Figures of the whole queue. `db`: a QueueDatabase, a PrismQ, or a store.

    Counts are those of the tasks that the queue holds. Rates, throughput and percentiles are of what ended within the
    last `hours`, tasks that were deleted since among them; a task that was queued again counts each time it ended.
    The statistics are kept in slots of a minute (ten minutes after 3 hours, an hour after 14 days, a day after 45), and
    a window begins with the slot that its beginning falls into. Tasks that were ended by hand count from the moment at
    which `finished_at_utc` is set. `hours` may be any positive number, and statistics reach back 13 months.

    Every method raises QueueDatabaseError where the queue cannot be read, and InvalidArgument for bad `hours`.
    """

    def __init__(self, db: Any, *, clock: Clock | None = None) -> None:
        self._store, self._clock = source_of(db, clock)

    # -- what there is now

    def get_queue_depth(self, task_type: str | None = None, status: str | None = None) -> int:
        """How many tasks there are, of one type, of one status, or of all."""
        return sum(
            tasks
            for (_, type_, its_status, _), tasks in self._store.insight.depth().items()
            if (task_type is None or type_ == task_type) and (status is None or its_status == str(status))
        )

    def get_queue_depth_by_status(self) -> dict[str, int]:
        """How many tasks have each status that any task has."""
        return _summed((status, tasks) for (_, _, status, _), tasks in self._store.insight.depth().items())

    def get_queue_depth_by_type(self) -> dict[str, int]:
        """How many tasks there are of each type, whatever their status."""
        return _summed((type_, tasks) for (_, type_, _, _), tasks in self._store.insight.depth().items())

    def get_oldest_queued_task_age(self) -> int | None:
        """The age of the oldest task that is queued, in whole seconds since it was enqueued; None where none is.

        Judged by the first hundred tasks of each queue and priority.
        """
        age_s = self._store.insight.oldest_queued_s(self._clock.now())
        return None if age_s is None else int(age_s)

    def get_worker_activity(self) -> list[dict[str, Any]]:
        """A row for each worker, latest heartbeat first: `worker_id`, `capabilities` (JSON), `heartbeat_utc` (UTC
        text), `seconds_since_heartbeat`, and `active_tasks`, the tasks in its hands (claimed or processing)."""
        now = self._clock.now()
        held = self._store.workers.in_hand()
        return [
            {**row_of(worker, now), "active_tasks": held.get(worker.worker_id, 0)}
            for worker in self._store.workers.all()
        ]

    # -- what ended

    def get_success_failure_rates(self, hours: float = 24) -> dict[str, Any]:
        """`success_count` (completed), `failure_count` (failed and dead letters), `total_count`, and the parts of it as
        `success_rate` and `failure_rate`, 0 to 1; both 0.0 where nothing ended."""
        return _rates(self._ended(hours))

    def get_throughput_metrics(self, hours: float = 1) -> dict[str, Any]:
        """`tasks_completed`, `tasks_per_minute` over the whole window, and `avg_processing_time_seconds` of the
        completed tasks whose beginning is known (0.0 where there are none)."""
        return _throughput(self._ended(hours, ("completed",), bins=True), hours)

    def get_retry_metrics(self, hours: float = 24) -> dict[str, Any]:
        """Of the tasks that completed or failed: `total_tasks`; `tasks_with_retries`, which needed more than one
        attempt, and `retry_rate`, their part; `avg_attempts`; `max_attempts_reached`, which failed with no attempt
        left. Zeros where nothing ended."""
        return _retries(self._ended(hours))

    def get_processing_time_percentiles(self, hours: float = 24, task_type: str | None = None) -> dict[str, float]:
        """Seconds that half (`p50`), 95 % (`p95`) and 99 % (`p99`) of the completed tasks did not exceed, each within
        2 %; 0.0 where none completed. From the start of the last attempt to its end."""
        run = Sketch.merged(
            one.run_bins
            for one in self._ended(hours, ("completed",), bins=True)
            if task_type is None or one.type == task_type
        )
        return {f"p{percent}": run.quantile(percent / 100) or 0.0 for percent in (50, 95, 99)}

    def get_queue_health_summary(self) -> dict[str, Any]:
        """The above in one: `queue_depth` (by status), `oldest_queued_task_age_seconds`, `success_failure_rates_24h`,
        `throughput_1h`, `active_workers` (how many had a heartbeat in the last 5 minutes), `retry_metrics_24h`, and
        `timestamp` (ISO 8601, UTC)."""
        now = self._clock.now()
        day = self._ended(24)
        return {
            "queue_depth": self.get_queue_depth_by_status(),
            "oldest_queued_task_age_seconds": self.get_oldest_queued_task_age(),
            "success_failure_rates_24h": _rates(day),
            "throughput_1h": self.get_throughput_metrics(1),
            "active_workers": sum(is_active(worker, now, STALE_S) for worker in self._store.workers.all()),
            "retry_metrics_24h": _retries(day),
            "timestamp": from_epoch(now).isoformat(),
        }

    def _ended(self, hours: float, only: tuple[str, ...] | None = None, *, bins: bool = False) -> list[Outcomes]:
        if not (hours > 0 and math.isfinite(hours)):
            raise InvalidArgument(f"hours is how far back to look: a number above 0, not {hours!r}")
        now = self._clock.now()
        # A second more: rows written by hand have the database's own clock.
        return self._store.insight.outcomes(max(0.0, now - hours * _HOUR_S), now + 1, only=only, bins=bins, waits=False)


def _summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for key, tasks in pairs:
        counts[key] += tasks
    return dict(counts)


def _counts(outcomes: Iterable[Outcomes]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in outcomes:
        counts[one.outcome] += one.tasks
    return counts


def _rates(outcomes: Iterable[Outcomes]) -> dict[str, Any]:
    counts = _counts(outcomes)
    success, failure = counts["completed"], counts["failed"] + counts["dead_letter"]
    total = success + failure
    return {
        "success_count": success,
        "failure_count": failure,
        "total_count": total,
        "success_rate": success / total if total else 0.0,
        "failure_rate": failure / total if total else 0.0,
    }


def _throughput(completed: list[Outcomes], hours: float) -> dict[str, Any]:
    tasks = sum(one.tasks for one in completed)
    timed = Sketch.merged(one.run_bins for one in completed).count
    return {
        "tasks_completed": tasks,
        "tasks_per_minute": tasks / (hours * 60),
        "avg_processing_time_seconds": sum(one.run_s for one in completed) / timed if timed else 0.0,
    }


def _retries(outcomes: Iterable[Outcomes]) -> dict[str, Any]:
    found = list(outcomes)
    ended = [one for one in found if one.outcome in _ENDED]
    counts = _counts(found)
    total, retried = sum(one.tasks for one in ended), sum(one.retried for one in ended)
    return {
        "total_tasks": total,
        "tasks_with_retries": retried,
        "retry_rate": retried / total if total else 0.0,
        "avg_attempts": sum(one.attempts for one in ended) / total if total else 0.0,
        "max_attempts_reached": counts["dead_letter"] + counts["used_up"],
    }
