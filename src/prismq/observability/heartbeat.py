"""Heartbeats of workers: sent for workers of your own, and watched for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prismq.clock import Clock
from prismq.domain.errors import InvalidArgument, QueueDatabaseError
from prismq.domain.limits import EXPIRE_CHUNK
from prismq.domain.worker import Worker
from prismq.observability.liveness import STALE_S, capabilities_json, is_active, is_stale, row_of
from prismq.observability.source import source_of


class WorkerHeartbeat:
    """Sends and watches heartbeats. `db`: a QueueDatabase, a PrismQ, or a store.

    A worker is stale when its last heartbeat is older than `stale_threshold_seconds` although it never said that it
    stopped. Workers of `prismq worker` send their own heartbeat, every 10 seconds; `update_heartbeat` is for workers
    of another making. Every method raises QueueDatabaseError where the queue cannot be read or written.
    """

    def __init__(self, db: Any, stale_threshold_seconds: float = STALE_S, *, clock: Clock | None = None) -> None:
        if not stale_threshold_seconds > 0:
            raise InvalidArgument(f"stale_threshold_seconds is a number above 0, not {stale_threshold_seconds!r}")
        self._store, self._clock = source_of(db, clock)
        self.stale_threshold_seconds = stale_threshold_seconds

    def update_heartbeat(self, worker_id: str, capabilities: Mapping[str, Any]) -> None:
        """Say that a worker is alive and what it offers; a row is made where there is none.

        Raises InvalidArgument for capabilities that are not JSON.
        """
        self._store.workers.touch(worker_id, self._clock.now(), capabilities_json(worker_id, capabilities))

    def get_active_workers(self) -> list[Worker]:
        """The workers whose heartbeat is recent, latest first."""
        now = self._clock.now()
        return [one for one in self._store.workers.all() if is_active(one, now, self.stale_threshold_seconds)]

    def get_stale_workers(self) -> list[Worker]:
        """The workers that fell silent, the one that was heard last first."""
        now = self._clock.now()
        return [one for one in self._store.workers.all() if is_stale(one, now, self.stale_threshold_seconds)]

    def cleanup_stale_workers(self, force: bool = False) -> int:
        """Remove the rows of stale workers, and of those that stopped as long ago; how many.

        A worker that still holds tasks is kept unless `force`; its tasks then wait for their leases to run out, or
        for `reclaim_stale_worker_tasks()`, which must come first, because it goes by the workers' rows.
        """
        return self._store.workers.forget(self._clock.now() - self.stale_threshold_seconds, holders=force)

    def get_worker_stats(self, worker_id: str) -> dict[str, Any]:
        """What is known of a worker: `worker_id`, `capabilities` (JSON), `heartbeat_utc` (UTC text),
        `seconds_since_heartbeat`, `is_active`, `active_tasks_count` (claimed or processing), `total_tasks_processed`,
        `completed_tasks`, `failed_tasks` (failed and dead letters), `success_rate` (0 to 1; 0.0 where it ended none).

        Raises QueueDatabaseError where there is no such worker.
        """
        worker = self._store.workers.get(worker_id)
        if worker is None:
            raise QueueDatabaseError(
                f"there is no worker {worker_id!r}: it never sent a heartbeat, or its row was removed. "
                f"`prismq workers list` shows those there are"
            )
        now = self._clock.now()
        total = worker.completed + worker.failed
        return {
            **row_of(worker, now),
            "is_active": is_active(worker, now, self.stale_threshold_seconds),
            "active_tasks_count": self._store.workers.in_hand().get(worker_id, 0),
            "total_tasks_processed": total,
            "completed_tasks": worker.completed,
            "failed_tasks": worker.failed,
            "success_rate": worker.completed / total if total else 0.0,
        }

    def get_all_workers_summary(self) -> list[dict[str, Any]]:
        """A row for each worker, latest heartbeat first: `worker_id`, `capabilities` (JSON), `heartbeat_utc` (UTC
        text), `seconds_since_heartbeat`, `is_active`, `active_tasks` (claimed or processing)."""
        now = self._clock.now()
        held = self._store.workers.in_hand()
        return [
            {
                **row_of(worker, now),
                "is_active": is_active(worker, now, self.stale_threshold_seconds),
                "active_tasks": held.get(worker.worker_id, 0),
            }
            for worker in self._store.workers.all()
        ]

    def reclaim_stale_worker_tasks(self) -> int:
        """Take back what stale workers hold, without waiting for the leases to run out; how many tasks.

        Each counts as an attempt, so a task goes back to `queued`, or, where it had no attempt left, to the dead
        letters. A worker that was merely slow cannot finish what was taken from it (see fencing in
        docs/architecture.md).
        """
        stale = [worker.worker_id for worker in self.get_stale_workers()]
        reason = f"its worker sent no heartbeat for more than {self.stale_threshold_seconds:g} s"
        taken = 0
        while stale:
            ended = self._store.upkeep.take_back(stale, self._clock.now(), reason=reason)
            taken += len(ended)
            if len(ended) < EXPIRE_CHUNK:
                break
        return taken
