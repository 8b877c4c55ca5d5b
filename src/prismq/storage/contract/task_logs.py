"""Log lines from outside an attempt, and reading them back."""

from __future__ import annotations

from typing import Protocol

from prismq.domain.lease import LogLine
from prismq.domain.span import AttemptSpans
from prismq.domain.task import LogFilter, LogPage, TaskLog


class TaskLogStore(Protocol):
    """Log lines of tasks. What workers write goes with WorkStore.exchange."""

    def add(self, line: LogLine) -> bool:
        """Write one line; False, and nothing written, where there is no such task. It is there at once, and may be lost
        with the last moment where the store crashes: nobody waits for a disk on its account."""
        ...

    def newest(self, *, task_id: int | None = None, level: str | None = None, limit: int = 100) -> list[TaskLog]:
        """The newest lines, newest first: of one task or of all, of one level or of every one.

        Of one task the newest are those with the latest time, of all those written last. DEBUG lines of all
        tasks are looked for among the newest limits.LOGS_LOOKED_AT lines."""
        ...

    def find(self, which: LogFilter, *, limit: int = 100, before_id: int | None = None) -> LogPage:
        """Lines that match, those written last first, from `before_id` (the cursor of the page before) backwards.

        Of all tasks at most limits.LOGS_LOOKED_AT lines are looked at in a call: a page with fewer than `limit` lines,
        or none, is the last only where it has no `next_before_id`. With `before` alone the look begins there."""
        ...

    def spans(self, task_id: int) -> list[AttemptSpans]:
        """What is kept of the spans of a task's attempts, in the order of the attempts; see Batch.spans."""
        ...

    def delete_before(self, before: float) -> int:
        """Delete the lines whose time is before this one, in pieces that hold nobody up; how many."""
        ...
