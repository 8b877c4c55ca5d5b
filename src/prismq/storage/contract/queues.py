"""Queues: pause, resume, limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class QueueInfo(NamedTuple):
    """A queue as an operator sees it."""

    queue: str
    paused_at: float | None
    paused_by: str | None
    max_running: int | None
    depth: Mapping[str, int]  # by status
    oldest_ready_s: float | None


class QueueAdmin(Protocol):
    """Queues: pause, resume, limit."""

    def pause(self, queue: str, by: str, now: float) -> None:
        """No task of this queue is claimed until it is resumed; running ones go on."""
        ...

    def resume(self, queue: str) -> bool:
        """False where it was not paused."""
        ...

    def limit(self, queue: str, max_running: int | None) -> None:
        """At most this many tasks of the queue run at once, whatever the number of workers; None: no limit."""
        ...

    def all(self, now: float) -> list[QueueInfo]:
        """Every queue that holds a task or a setting, by name."""
        ...
