"""What has to happen whether or not anyone works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


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


class Upkeep(Protocol):
    """What has to happen whether or not anyone works. Safe to run in many processes at once."""

    def expire_leases(self, now: float, *, dead_workers: Sequence[str] = (), reason: str = "") -> list[ExpiredLease]:
        """End leases that ran out, and all those of `dead_workers`: back to queued, or to the dead letters
        when the attempts are used up. At most limits.EXPIRE_CHUNK a call."""
        ...

    def prune(self, retention: Retention, now: float) -> int:
        """Delete a small batch of tasks past their retention; how many. Dead letters have their own time."""
        ...

    def fold(self, now: float) -> int:
        """Merge old statistics into longer slots; how many rows went."""
        ...

    def book(self, now: float) -> int:
        """Count new rows into the books, a bounded number a call; how many."""
        ...
