"""Acting on tasks and queues: one by id, or all that match."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from datetime import datetime

from typing_extensions import TypedDict, Unpack

from prismq.client.sender import Sender
from prismq.domain.errors import InvalidArgument, TaskNotFound
from prismq.domain.limits import PRIORITY_MAX, PRIORITY_MIN
from prismq.domain.status import parse_status
from prismq.domain.task import LogFilter, LogPage, Task, TaskAttempt, TaskFilter, TaskLog
from prismq.domain.times import to_epoch
from prismq.storage.contract import Cancelled, QueueInfo


class Which(TypedDict, total=False):
    """Which tasks are meant; all that is given must match. `text` is sought in payload and error."""

    ids: Iterable[int]
    status: str | Iterable[str]
    type: str
    queue: str
    schedule: str
    tag: str
    text: str
    created_after: datetime
    created_before: datetime


class Operator:
    """What an operator can do. Bulk actions want at least one condition, so that nothing happens to all by accident."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._tasks = sender.store.tasks
        self._queues = sender.store.queues

    # -- looking

    def get(self, task_id: int) -> Task:
        """The task's row. Raises TaskNotFound."""
        task = self._tasks.get(task_id)
        if task is None:
            raise TaskNotFound(task_id)
        return task

    def find(self, *, limit: int = 100, before_id: int | None = None, **which: Unpack[Which]) -> list[Task]:
        """Tasks that match, newest first; `before_id` is the cursor of the next page."""
        return self._tasks.find(filter_of(**which), limit=limit, before_id=before_id)

    def count(self, *, at_most: int = 100_000, **which: Unpack[Which]) -> int:
        """How many match, counting no further than `at_most`."""
        return self._tasks.count(filter_of(**which), at_most=at_most)

    def logs(self, task_id: int, *, limit: int = 1000, after_id: int = 0) -> list[TaskLog]:
        """The task's log lines, oldest first."""
        return self._tasks.logs(task_id, limit=limit, after_id=after_id)

    def find_logs(
        self,
        *,
        task_id: int | None = None,
        level: str = "DEBUG",
        text: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
        before_id: int | None = None,
    ) -> LogPage:
        """Log lines of all tasks, or of one, newest first: of `level` or above, with `text` in message or details,
        written from `after` up to `before`.

        A call looks at 100,000 lines at most: a page may be short, and there is more for as long as it has a
        `next_before_id`, which is the `before_id` of the next page. Raises InvalidArgument for an unknown level.
        """
        least = level.strip().upper()
        if least not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            raise InvalidArgument(f"there is no level {level!r}; levels are DEBUG, INFO, WARNING, ERROR and CRITICAL")
        which = LogFilter(
            task_id,
            least,
            text,
            None if after is None else to_epoch(after),
            None if before is None else to_epoch(before),
        )
        return self._sender.store.logs.find(which, limit=limit, before_id=before_id)

    def attempts(self, task_id: int) -> list[TaskAttempt]:
        """The task's attempts that did not complete, oldest first, with error and traceback."""
        return self._tasks.attempts(task_id)

    # -- acting

    def cancel(self, task_id: int | None = None, **which: Unpack[Which]) -> Cancelled:
        """Cancel: waiting tasks at once; running ones are asked to stop, and stay `cancelling` until they have."""
        done = self._tasks.cancel(self._meant(task_id, which, "cancel"), self._now())
        self._sender.announce()
        return done

    def retry(self, task_id: int | None = None, **which: Unpack[Which]) -> int:
        """Queue ended tasks again with all their attempts; how many."""
        done = self._tasks.retry(self._meant(task_id, which, "retry"), self._now())
        self._sender.announce()
        return done

    def run_now(self, task_id: int | None = None, **which: Unpack[Which]) -> int:
        """Make scheduled tasks ready at once; how many."""
        done = self._tasks.run_now(self._meant(task_id, which, "run_now"), self._now())
        self._sender.announce()
        return done

    def reprioritise(self, priority: int, task_id: int | None = None, **which: Unpack[Which]) -> int:
        """Give waiting tasks another priority (lower runs first); how many changed."""
        if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
            raise InvalidArgument(
                f"priority takes a whole number from {PRIORITY_MIN:,} to {PRIORITY_MAX:,}, not {priority}"
            )
        return self._tasks.reprioritise(self._meant(task_id, which, "reprioritise"), priority, self._now())

    def delete(self, task_id: int | None = None, **which: Unpack[Which]) -> int:
        """Remove tasks that nobody holds, with their logs; how many."""
        return self._tasks.delete(self._meant(task_id, which, "delete"))

    # -- queues

    def pause(self, queue: str, by: str | None = None) -> None:
        """Claim nothing more of this queue until it is resumed."""
        self._queues.pause(queue, by or who_am_i(), self._now())

    def resume(self, queue: str) -> bool:
        """Claim from it again; False where it was not paused."""
        resumed = self._queues.resume(queue)
        self._sender.announce()
        return resumed

    def limit(self, queue: str, max_running: int | None) -> None:
        """At most this many tasks of the queue at once, over all workers; None: no limit."""
        if max_running is not None and max_running < 1:
            raise InvalidArgument(f"a queue's limit is 1 or more, not {max_running}; to stop it, pause it")
        self._queues.limit(queue, max_running)
        self._sender.announce()

    def queues(self) -> list[QueueInfo]:
        """Every queue: paused or not, depth by status, age of the oldest ready task in seconds."""
        return self._queues.all(self._now())

    def _now(self) -> float:
        return self._sender.clock.now()

    def _meant(self, task_id: int | None, which: Which, action: str) -> TaskFilter:
        if task_id is not None:
            if which:
                raise InvalidArgument(f"{action} takes a task id or conditions, not both")
            self.get(task_id)
            return TaskFilter(ids=(task_id,))
        meant = filter_of(**which)
        if meant.is_empty:
            raise InvalidArgument(f"{action} wants a task id or at least one condition, such as status='failed'")
        return meant


def filter_of(**which: Unpack[Which]) -> TaskFilter:
    """The conditions as a TaskFilter. Raises UnknownStatus and InvalidArgument."""
    unknown = set(which) - set(Which.__annotations__)
    if unknown:
        known = ", ".join(sorted(Which.__annotations__))
        raise InvalidArgument(f"there is no condition {min(unknown)!r}; conditions are {known}")
    status = which.get("status", ())
    statuses = (status,) if isinstance(status, str) else tuple(status)
    after, before = which.get("created_after"), which.get("created_before")
    return TaskFilter(
        ids=tuple(which.get("ids", ())),
        statuses=tuple(parse_status(one).value for one in statuses),
        type=which.get("type"),
        queue=which.get("queue"),
        schedule=which.get("schedule"),
        tag=which.get("tag"),
        text=which.get("text"),
        created_after=None if after is None else to_epoch(after),
        created_before=None if before is None else to_epoch(before),
    )


def who_am_i() -> str:
    """The user at this machine, for the record of who asked."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user database here
        return f"pid {os.getpid()}"
