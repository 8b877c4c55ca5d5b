"""A canary: a task that only shows that what is enqueued is done, from end to end.

It is off unless a queue is named for it. It writes tasks into queues that are somebody's, counts in their figures, and
wants a worker for each of them: a system that nobody has asked to be watched so should not find strange tasks in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from prismq.clock import Clock
from prismq.domain.task import NewTask
from prismq.domain.times import to_epoch
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import Canary
from prismq.worker.built_in import CANARY

_OVER = ("completed", "failed", "dead_letter", "cancelled")
RETENTION_S = 600.0
PRIORITY = 100  # as any other task: what stands before them stands before it


class Canaries:
    """`step()` looks how the last ones did, and sends the next."""

    def __init__(self, store: Store, clock: Clock, queues: Sequence[str], interval_s: float) -> None:
        self._store, self._clock = store, clock
        self._queues, self._interval_s = tuple(dict.fromkeys(queues)), interval_s
        self._tidy = False

    def step(self) -> None:
        """Look once. Raises QueueDatabaseError."""
        if not self._tidy:
            self._store.alerts.forget_canaries(self._queues)
            self._tidy = True
        if not self._queues:
            return
        known = {one.queue: one for one in self._store.alerts.canaries()}
        for queue in self._queues:
            self._look_after(queue, known.get(queue))

    def _look_after(self, queue: str, canary: Canary | None) -> None:
        now = self._clock.now()
        if canary is None:
            self._send(queue, None, now)
            return
        task = self._store.tasks.get(canary.task_id)
        done = task is not None and task.status == "completed"
        if task is not None and done and canary.waiting_since is not None:
            ended = now if task.finished_at_utc is None else to_epoch(task.finished_at_utc)
            canary = canary._replace(done_at=ended, took_s=max(0.0, ended - canary.enqueued_at), waiting_since=None)
            self._store.alerts.put_canary(canary)
        over = task is None or task.status in _OVER
        # One that still waits is not joined by others: a canary must not add to the jam that it tells of.
        if over and now - canary.enqueued_at >= self._interval_s:
            self._send(queue, canary, now)

    def _send(self, queue: str, before: Canary | None, now: float) -> None:
        new = NewTask(CANARY, "{}", queue=queue, priority=PRIORITY, max_attempts=1, retention_s=RETENTION_S)
        done = self._store.inbox.enqueue(new, now)
        # Not done: waiting since the first that was not done.
        since = now if before is None or before.waiting_since is None else before.waiting_since
        done_at, took_s = (None, None) if before is None else (before.done_at, before.took_s)
        self._store.alerts.put_canary(Canary(queue, done.task_id, now, done_at, took_s, since))
