"""What has to happen whether or not anyone works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol


class ExpiredLease(NamedTuple):
    """A lease that the reaper ended."""

    task_id: int
    type: str
    worker_id: str | None
    attempt: int
    to: str  # the status the task has now


class Retention(NamedTuple):
    """How long ended tasks, and other records, are kept, in seconds."""

    completed_s: float
    failed_s: float
    logs_s: float
    workers_s: float


class TaskStory(NamedTuple):
    """An ended task with its attempts, its log lines, and the spans of attempts that were traced, each as `to_dict()`
    has it."""

    task: dict[str, Any]
    attempts: list[dict[str, Any]]
    logs: list[dict[str, Any]]
    spans: list[dict[str, Any]]


Archiver = Callable[[Iterator[TaskStory]], None]


class Upkeep(Protocol):
    """What has to happen whether or not anyone works. Safe to run in many processes at once."""

    def expire_leases(
        self,
        now: float,
        *,
        dead_workers: Sequence[str] = (),
        reason: str = "",
        overdue_s: float = 0.0,
        wait_s: float | None = None,
    ) -> list[ExpiredLease]:
        """End leases that ran out, and all those of `dead_workers`: back to queued, or to the dead letters
        when the attempts are used up. At most limits.EXPIRE_CHUNK a call. `overdue_s`: only leases that ran out
        that many seconds ago or earlier. `wait_s`: how long to wait for a lock on the whole database, instead of
        `busy_timeout_s`; then QueueBusyError."""
        ...

    def prune(self, retention: Retention, now: float, archive: Archiver | None = None) -> int:
        """Delete a small batch of tasks past their retention; how many. Dead letters have their own time.

        With `archive`, tasks are handed to it first, outside of any transaction; when it returns they are deleted,
        but for those that changed meanwhile. What it raises is raised, and nothing was deleted.
        """
        ...

    def fold(self, now: float) -> int:
        """Merge old statistics into longer slots; how many rows went."""
        ...

    def take_back(self, worker_ids: Sequence[str], now: float, *, reason: str) -> list[ExpiredLease]:
        """End every lease of these workers, and no other, as expire_leases ends those of dead workers; `reason` is
        for people. At most limits.EXPIRE_CHUNK a call."""
        ...

    def book(self, now: float) -> int:
        """Count new rows, and tasks that were ended by hand, into the books, a bounded number a call; how many.

        Less than limits.BOOK_CHUNK: nothing was left. Where writers book for themselves, what they wrote is folded."""
        ...

    def littered(self) -> list[str]:
        """Tables in which so much that was changed or deleted lies about that it slows readers: for `sweep`. None
        where the engine needs no such thing."""
        ...

    def sweep(self, tables: Sequence[str]) -> None:
        """Clear these up. Stands in nobody's way and may take minutes; a table at which somebody else is, is left to
        him. Raises QueueDatabaseError."""
        ...
