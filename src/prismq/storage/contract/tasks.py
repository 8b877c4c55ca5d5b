"""Looking at tasks and acting on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from prismq.domain.task import Task, TaskAttempt, TaskFilter, TaskLog


class Cancelled(NamedTuple):
    """How many tasks were cancelled at once, and how many running ones were asked to stop."""

    cancelled: int
    cancelling: int


class TaskAdmin(Protocol):
    """Looking at tasks and acting on them: one by id, or all that match a filter."""

    def get(self, task_id: int) -> Task | None:
        """The task, or None."""
        ...

    def find(
        self, which: TaskFilter, *, limit: int = 100, before_id: int | None = None, from_id: int | None = None
    ) -> list[Task]:
        """Newest first; `before_id` is the cursor of the next page. `from_id`: look at no task with a lower id."""
        ...

    def newest_failures(self, *, queue: str | None = None, limit: int = 100) -> list[Task]:
        """Tasks that failed for good and dead letters, those that ended last first, by an index: as quick with a few
        among millions. Those of one queue are looked for among the newest limits.FAILURES_LOOKED_AT. A row that was
        ended by hand without saying when is not among them."""
        ...

    def count(self, which: TaskFilter, *, at_most: int = 100_000) -> int:
        """How many match, counting no further than `at_most`."""
        ...

    def cancel(self, which: TaskFilter, now: float) -> Cancelled:
        """Waiting tasks become cancelled; leased ones are asked to stop."""
        ...

    def retry(self, which: TaskFilter, now: float) -> int:
        """Ended tasks are queued again with all their attempts, their history kept; others are left alone."""
        ...

    def run_now(self, which: TaskFilter, now: float) -> int:
        """Scheduled tasks become ready at once; others are left alone."""
        ...

    def reprioritise(self, which: TaskFilter, priority: int, now: float) -> int:
        """Change the priority of waiting tasks."""
        ...

    def delete(self, which: TaskFilter) -> int:
        """Remove tasks that are not leased, with their logs and attempts."""
        ...

    def attempts(self, task_id: int) -> list[TaskAttempt]:
        """The attempts that did not complete, oldest first."""
        ...

    def logs(self, task_id: int, *, limit: int = 1000, after_id: int = 0) -> list[TaskLog]:
        """Oldest first; `after_id` is the cursor for following."""
        ...


def as_ids(tasks: Iterable[int]) -> TaskFilter:
    """The filter that means exactly these tasks; none, where there are none."""
    # No ids would mean no restriction. No task has the id 0.
    return TaskFilter(ids=tuple(tasks) or (0,))
