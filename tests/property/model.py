"""The store as a few dictionaries: what must be true, without saying how."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

WAITING = ("scheduled", "queued")
LEASED = ("claimed", "processing")
ENDED = ("completed", "failed", "dead_letter", "cancelled")


@dataclass(eq=False)
class ModelTask:
    """One task."""

    queue: str
    type: str
    priority: int
    status: str
    max_attempts: int
    run_after: float
    attempts: int = 0
    token: int = 0
    crashes: int = 0
    worker: str | None = None
    lease_until: float | None = None
    asked_to_stop: bool = False
    finished_at: float | None = None
    touched: bool = False  # by hand: whoever changes attempts or states by hand answers for the numbers


@dataclass
class Model:
    """All tasks."""

    tasks: dict[int, ModelTask] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)

    def promote(self, now: float) -> None:
        """What is due is queued."""
        for task in self.tasks.values():
            if task.status == "scheduled" and task.run_after <= now:
                task.status = "queued"

    def ready(self, now: float, queues: tuple[str, ...] | None, types: frozenset[str]) -> dict[int, ModelTask]:
        """What a claim may take now."""
        return {
            task_id: task
            for task_id, task in self.tasks.items()
            if task.status == "queued"
            and task.run_after <= now
            and task.queue not in self.paused
            and task.type in types
            and (queues is None or task.queue in queues)
        }

    def settle(self, task_id: int, token: int, to: str, now: float, run_after: float, counts: bool) -> str:
        """`written`, `lost`, or `repeated` where the task is already so."""
        task = self.tasks.get(task_id)
        if task is None or task.token != token:
            return "lost"
        if task.status not in LEASED:
            return "repeated" if task.status == to or to == "processing" else "lost"
        if to == "processing":
            task.status = to
            return "written"
        if to in WAITING and task.asked_to_stop:
            to = "cancelled"
        task.status = to
        task.asked_to_stop = False
        task.lease_until = None
        if not counts:
            task.attempts -= 1
        task.worker = None if to in WAITING else task.worker
        task.run_after = run_after  # of an ended task it says nothing
        task.finished_at = now if to in ENDED else None
        return "written"

    def expire(self, now: float, dead: tuple[str, ...]) -> list[int]:
        """Leases that ran out."""
        ended = []
        for task_id, task in self.tasks.items():
            over = task.lease_until is None or task.lease_until <= now or task.worker in dead
            if task.status in LEASED and over:
                ended.append(task_id)
                innocent = task.status == "claimed" and (task.crashes > 0 or task.attempts >= task.max_attempts)
                if innocent:
                    task.status = "queued"
                else:
                    task.status = "queued" if task.attempts < task.max_attempts else "dead_letter"
                    task.crashes += 1
                if innocent:
                    task.attempts -= 1
                if task.asked_to_stop:
                    task.status = "cancelled"
                task.asked_to_stop = False
                task.lease_until, task.worker = None, None
                task.finished_at = now if task.status in ENDED else None
        return ended

    def depth(self) -> dict[tuple[str, str, str, str], int]:
        """Counts by queue, type, status and band."""
        return dict(
            Counter(
                (task.queue, task.type, task.status,
                 "high" if task.priority < 100 else "normal" if task.priority == 100 else "low")
                for task in self.tasks.values()
            )
        )  # fmt: skip
