"""What a running task can ask and say: `current_task()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from pydantic_core import PydanticSerializationError, to_json

from prismq.domain.errors import PrismqError, TaskCancelled
from prismq.domain.lease import Lease
from prismq.domain.limits import LOG_DETAILS_BYTES_MAX, LOG_MESSAGE_CHARS_MAX
from prismq.domain.outcome import storable
from prismq.domain.task import json_object


class Reporter(Protocol):
    """Where a task's words go: the journal of this process, or the pipe to the parent's."""

    def log(self, level: str, message: str, details: str | None) -> None:
        """Keep a line with the task; never raises."""
        ...

    def progress(self, text: str) -> None:
        """Keep the latest progress, as JSON; never raises."""
        ...

    def stop_requested(self) -> bool:
        """Whether the task was cancelled, timed out, or lost its lease."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """A store transaction that completes the task at its end. See TaskContext.transaction."""
        ...


class TaskLog:
    """`task.log`: lines that are kept with the task, in `task_logs`, and tied to the attempt."""

    def __init__(self, report: Callable[[str, str, str | None], None]) -> None:
        self._report = report

    def log(self, level: str, message: str, **details: Any) -> None:
        """Keep a line. `details` becomes JSON; what is not JSON is kept as its repr. Never fails the task."""
        self._report(
            str(level), storable(str(message)[:LOG_MESSAGE_CHARS_MAX]), details_json(details) if details else None
        )

    def debug(self, message: str, **details: Any) -> None:
        """Keep a DEBUG line."""
        self.log("DEBUG", message, **details)

    def info(self, message: str, **details: Any) -> None:
        """Keep an INFO line."""
        self.log("INFO", message, **details)

    def warning(self, message: str, **details: Any) -> None:
        """Keep a WARNING line."""
        self.log("WARNING", message, **details)

    def error(self, message: str, **details: Any) -> None:
        """Keep an ERROR line."""
        self.log("ERROR", message, **details)

    def critical(self, message: str, **details: Any) -> None:
        """Keep a CRITICAL line."""
        self.log("CRITICAL", message, **details)


class TaskContext:
    """The task that runs here and now.

    `id`, `type`, `queue`, `attempt` (the first is 1), `max_attempts`, `worker_id`, `headers`, `schedule`.
    """

    __slots__ = ("_lease", "_log", "_reporter")

    def __init__(self, lease: Lease, reporter: Reporter) -> None:
        self._lease = lease
        self._reporter = reporter
        self._log: TaskLog | None = None

    @property
    def id(self) -> int:
        """The task's id."""
        return self._lease.task_id

    @property
    def type(self) -> str:
        """The task's type: the name its function is registered under."""
        return self._lease.type

    @property
    def queue(self) -> str:
        """The queue it was enqueued on."""
        return self._lease.queue

    @property
    def attempt(self) -> int:
        """Which attempt this is; the first is 1."""
        return self._lease.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts there may be."""
        return self._lease.max_attempts

    @property
    def worker_id(self) -> str:
        """The worker process that runs it."""
        return self._lease.worker_id

    @property
    def schedule(self) -> str | None:
        """The schedule that enqueued it, if one did."""
        return self._lease.schedule

    @property
    def headers(self) -> Mapping[str, Any]:
        """What travels with the task beside its payload (trace context, request id, slot)."""
        return json_object(self._lease.headers)

    @property
    def idempotency_key(self) -> str | None:
        """The key it was enqueued with."""
        return self._lease.idempotency_key

    @property
    def log(self) -> TaskLog:
        """Lines that are kept with the task."""
        if self._log is None:
            self._log = TaskLog(self._reporter.log)
        return self._log

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the task is; the latest word is kept. Also the place where a cancelled task stops.

        Raises TaskCancelled where the task was asked to stop.
        """
        self.check_cancelled()
        self._reporter.progress(details_json({"done": done, "total": total, "note": note}))

    @property
    def cancelled(self) -> bool:
        """Whether the task was asked to stop: cancelled, timed out, or its lease was lost."""
        return self._reporter.stop_requested()

    def check_cancelled(self) -> None:
        """Raise TaskCancelled where the task was asked to stop."""
        if self._reporter.stop_requested():
            raise TaskCancelled("the task saw that it was cancelled and stopped")

    def heartbeat(self) -> None:
        """Leases are renewed by the worker itself; a task may call this to learn that it should stop.

        Raises TaskCancelled where the task was asked to stop.
        """
        self.check_cancelled()

    def transaction(self) -> AbstractContextManager[Any]:
        """A transaction of the store that completes this task when it commits: effects exactly once.

        Yields the connection for the task's own writes (sqlite3.Connection on SQLite). At the end of the block
        the task becomes completed and both commit together, or neither does: LeaseLost is raised, and the writes
        rolled back, where the lease was lost. What the handler returns is kept as the result. The block holds the
        queue's write lock: compute first, then write.
        """
        return self._reporter.transaction()


def details_json(value: dict[str, Any]) -> str:
    """Details of a log line as JSON, whatever is in them; past their bound, the beginning of it."""
    try:
        text = to_json(value, fallback=repr, inf_nan_mode="strings").decode()
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        text = to_json({"unprintable": repr(error)}).decode()
    if len(text) > LOG_DETAILS_BYTES_MAX:
        return to_json({"cut": True, "bytes": len(text), "head": text[:1000]}).decode()
    return text


_current: ContextVar[TaskContext | None] = ContextVar("prismq_current_task", default=None)


def current_task() -> TaskContext:
    """The task that the calling code runs in. Raises PrismqError outside a task."""
    context = _current.get()
    if context is None:
        raise PrismqError("current_task() was called outside a task; it works in a handler that a worker runs")
    return context


def bind(context: TaskContext) -> Any:
    """Make `context` the current one here; give the answer to `unbind`."""
    return _current.set(context)


def unbind(token: Any) -> None:
    """Undo `bind`."""
    _current.reset(token)
