"""The registry of workers and the figures of the queue, for monitoring systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from prismq.clock import Clock
from prismq.domain.worker import Worker
from prismq.observability.liveness import STALE_S, capabilities_json, is_active, is_stale, row_of
from prismq.observability.source import source_of

ACTIVE_S = 60.0


class QueueMonitoring:
    """The registry of workers and the figures of the queue. `db`: a QueueDatabase, a PrismQ, or a store.

    Every method raises QueueDatabaseError where the queue cannot be read or written.
    """

    def __init__(self, db: Any, *, clock: Clock | None = None) -> None:
        self._store, self._clock = source_of(db, clock)

    # -- workers

    def register_worker(self, worker_id: str, capabilities: Mapping[str, Any] | None = None) -> None:
        """Register a worker, or change what it offers; it is alive as of now.

        Raises InvalidArgument for capabilities that are not JSON.
        """
        self._store.workers.touch(worker_id, self._clock.now(), capabilities_json(worker_id, capabilities))

    def update_heartbeat(self, worker_id: str) -> bool:
        """Say that a worker is alive; False where it is not registered."""
        return self._store.workers.touch(worker_id, self._clock.now())

    def get_worker(self, worker_id: str) -> Worker | None:
        """The worker, or None."""
        return self._store.workers.get(worker_id)

    def get_all_workers(self) -> list[Worker]:
        """Every registered worker, latest heartbeat first."""
        return self._store.workers.all()

    def get_active_workers(self, active_threshold_seconds: float = 60) -> list[Worker]:
        """The workers whose heartbeat is at most so old, and that have not stopped; latest heartbeat first."""
        now = self._clock.now()
        return [one for one in self._store.workers.all() if is_active(one, now, active_threshold_seconds)]

    def get_stale_workers(self, stale_threshold_seconds: float = 300) -> list[Worker]:
        """The workers whose heartbeat is older than that, although they never said that they stopped."""
        now = self._clock.now()
        return [one for one in self._store.workers.all() if is_stale(one, now, stale_threshold_seconds)]

    def remove_worker(self, worker_id: str) -> bool:
        """Remove a worker from the registry, whatever it holds; False where there is none.

        One that is alive after all registers again with its next heartbeat.
        """
        return self._store.workers.remove(worker_id)

    # -- figures

    def get_queue_metrics(self) -> dict[str, Any]:
        """The figures of the queue as it is now; tasks that were deleted after their retention are in none of them.

        `queue_depth_by_status` and `queue_depth_by_type` (of queued tasks): counts. `oldest_queued_task_age_seconds`:
        whole seconds since it was enqueued, or None. `task_statistics`: how many tasks are `completed`, `failed`,
        `dead_letter` and `cancelled`, and `finished`, the sum of the first three. `success_rate` (completed) and
        `failure_rate` (failed and dead letters): parts of `finished`, None where it is 0. `total_workers`;
        `active_workers`: a heartbeat in the last 60 seconds; `stale_workers`: none for more than 5 minutes.
        """
        now = self._clock.now()
        statuses: Counter[str] = Counter()
        types: Counter[str] = Counter()
        for (_, type_, status, _), tasks in self._store.insight.depth().items():
            statuses[status] += tasks
            if status == "queued":
                types[type_] += tasks
        failed = statuses["failed"] + statuses["dead_letter"]
        finished = statuses["completed"] + failed
        age_s = self._store.insight.oldest_queued_s(now)
        workers = self._store.workers.all()
        return {
            "queue_depth_by_status": {status: tasks for status, tasks in statuses.items() if tasks},
            "queue_depth_by_type": dict(types),
            "oldest_queued_task_age_seconds": None if age_s is None else int(age_s),
            "task_statistics": {
                **{status: statuses[status] for status in ("completed", "failed", "dead_letter", "cancelled")},
                "finished": finished,
            },
            "success_rate": statuses["completed"] / finished if finished else None,
            "failure_rate": failed / finished if finished else None,
            "total_workers": len(workers),
            "active_workers": sum(is_active(one, now, ACTIVE_S) for one in workers),
            "stale_workers": sum(is_stale(one, now, STALE_S) for one in workers),
        }

    def get_worker_activity(self) -> list[dict[str, Any]]:
        """A row for each worker, latest heartbeat first: `worker_id`, `capabilities` (JSON), `heartbeat_utc` (UTC
        text), `seconds_since_heartbeat`."""
        now = self._clock.now()
        return [row_of(worker, now) for worker in self._store.workers.all()]
