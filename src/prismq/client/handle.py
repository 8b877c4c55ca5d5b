"""A task from the outside: what became of it, and its result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from prismq.client.sender import Sender
from prismq.domain.errors import ResultTimeout, TaskFailed, TaskNotFound
from prismq.domain.status import TERMINAL, TaskStatus
from prismq.domain.task import Task, json_object
from prismq.domain.times import to_epoch

R = TypeVar("R")

_POLL_MIN_S, _POLL_MAX_S = 0.001, 0.05


class TaskHandle(Generic[R]):
    """A task by its id. `created` is False where an earlier task with the same key was found instead."""

    def __init__(
        self, sender: Sender, task_id: int, decode: Callable[[str | None], Any], *, created: bool = True
    ) -> None:
        self.id = task_id
        self.created = created
        self._sender = sender
        self._decode = decode

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def task(self) -> Task:
        """The row as it is now. Raises TaskNotFound where it was deleted or pruned."""
        task = self._sender.store.tasks.get(self.id)
        if task is None:
            raise TaskNotFound(self.id)
        return task

    @property
    def status(self) -> TaskStatus:
        """The status as it is now."""
        return TaskStatus(self.task().status)

    @property
    def progress(self) -> dict[str, Any]:
        """What the task last said of its progress: `done`, `total`, `note`; `{}` where it said nothing."""
        return json_object(self.task().progress)

    def result(self, timeout: float | None = None) -> R:
        """Wait for the task to end and return what its function returned.

        Raises ResultTimeout after `timeout` seconds (None: wait for ever), TaskFailed where it ended without
        a result, TaskNotFound.
        """
        clock = self._sender.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        wait_s = _POLL_MIN_S
        nothing = threading.Event()
        while True:
            task = self.task()
            if TaskStatus(task.status) in TERMINAL and not _still_returning(task, self._sender.clock.now()):
                return self._result_of(task)
            if deadline is not None:
                left_s = deadline - clock.monotonic()
                if left_s <= 0:
                    raise ResultTimeout(self.id, task.state, timeout or 0.0)
                wait_s = min(wait_s, left_s)
            clock.wait(nothing, wait_s)
            wait_s = min(wait_s * 1.2, _POLL_MAX_S)

    async def aresult(self, timeout: float | None = None) -> R:
        """`result`, without blocking the event loop."""
        return await asyncio.to_thread(self.result, timeout)

    def cancel(self) -> str:
        """Cancel it: the state it has now (`cancelled`, `cancelling`, or what it had ended as)."""
        from prismq.domain.task import TaskFilter

        self._sender.store.tasks.cancel(TaskFilter(ids=(self.id,)), self._sender.clock.now())
        self._sender.announce()
        return self.task().state

    def _result_of(self, task: Task) -> R:
        if task.status != TaskStatus.COMPLETED.value:
            raise TaskFailed(self.id, task.type, task.status, task.error_message)
        value: R = self._decode(task.result)
        return value


def _still_returning(task: Task, now: float) -> bool:
    """A task that its own transaction has completed, and whose function has not returned yet."""
    return task.lease_until_utc is not None and to_epoch(task.lease_until_utc) > now
