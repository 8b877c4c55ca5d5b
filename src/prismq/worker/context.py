"""What a running task can ask and say: `current_task()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import to_json, to_jsonable_python

from prismq.domain.errors import PrismqError, TaskCancelled, TaskTimeout
from prismq.domain.lease import Lease
from prismq.domain.limits import LOG_DETAILS_BYTES_MAX, LOG_MESSAGE_CHARS_MAX
from prismq.domain.outcome import storable
from prismq.domain.redaction import Redactor
from prismq.domain.task import json_object

if TYPE_CHECKING:
    from prismq.worker.options import CaptureOptions

_CUT = 40  # characters that say how much was cut


class Reporter(Protocol):
    """Where a task's words go: the journal of this process, or the pipe to the parent's."""

    @property
    def redactor(self) -> Redactor:
        """What keeps secrets out of the lines."""
        ...

    @property
    def capture(self) -> CaptureOptions:
        """What else than `task.log` is kept."""
        ...

    def takes(self, level: str) -> bool:
        """Whether a line of this level would be kept: there is a least level, and a most of lines."""
        ...

    def bind(self, fields: dict[str, Any]) -> None:
        """Have these fields on what is reported of the attempt; never raises."""
        ...

    def log(self, level: str, message: str, details: str | None) -> None:
        """Keep a line with the task; never raises."""
        ...

    def progress(self, text: str) -> None:
        """Keep the latest progress, as JSON; never raises."""
        ...

    def stop_requested(self) -> bool:
        """Whether the task was cancelled, timed out, or lost its lease."""
        ...

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """A transaction that completes the task at its end. See TaskContext.transaction."""
        ...


class TaskLog:
    """`task.log`: lines that are kept with the task, in `task_logs`, and tied to the attempt."""

    def __init__(self, keep: Callable[[str, str, Mapping[str, Any]], None]) -> None:
        self._keep = keep

    def log(self, level: str, message: str, **details: Any) -> None:
        """Keep a line. `details` becomes JSON; what is not JSON is kept as its repr. Never fails the task."""
        self._keep(str(level), str(message), details)

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

    __slots__ = ("_bound", "_lease", "_log", "_reporter")

    def __init__(self, lease: Lease, reporter: Reporter) -> None:
        self._lease = lease
        self._reporter = reporter
        self._log: TaskLog | None = None
        self._bound: dict[str, Any] | None = None

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
            self._log = TaskLog(partial(keep_line, self))
        return self._log

    def bind(self, **fields: Any) -> None:
        """Have these fields on every line of this attempt from now on: those kept with the task, and those of the
        program's log, what the worker reports of the attempt's end included. The last value of a name counts."""
        clean = json_object(details_json(fields, self._reporter.redactor))
        self._bound = {**(self._bound or {}), **clean}
        self._reporter.bind(clean)

    @property
    def bound(self) -> Mapping[str, Any]:
        """What `bind` has gathered."""
        return self._bound or {}

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

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """A transaction that completes this task when it commits: effects exactly once.

        Yields the connection for the task's own writes (sqlite3.Connection on SQLite, psycopg.Connection on
        PostgreSQL). At the end of the block the task becomes completed and both commit together, or neither does:
        LeaseLost is raised, and the writes rolled back, where the lease was lost. What the handler returns is kept as
        the result. On SQLite the block holds the queue's write lock: compute first, then write.

        `connection`: your own connection or session to the queue's database, as `q.transaction` takes it. The block
        then ends with the word that the task has completed, and you commit; after that the handler should only return.
        """
        return self._reporter.transaction(connection)


def keep_line(context: TaskContext, level: str, message: str, details: Mapping[str, Any] | None = None) -> None:
    """Keep a line with the task, with what is bound. Never fails the task."""
    reporter, bound = context._reporter, context._bound
    if not reporter.takes(level):
        return
    if len(message) > LOG_MESSAGE_CHARS_MAX:
        left = LOG_MESSAGE_CHARS_MAX - _CUT
        message = f"{message[:left]} … {len(message) - left:,} characters cut"
    if bound:
        details = {**bound, **details} if details else bound
    reporter.log(level, storable(message), details_json(details, reporter.redactor) if details else None)


def captured_of(context: TaskContext) -> CaptureOptions:
    """What else than `task.log` is kept of this task's words."""
    return context._reporter.capture


_NO_SECRETS = Redactor(())


def details_json(value: Mapping[str, Any], redactor: Redactor = _NO_SECRETS) -> str:
    """Details of a log line as JSON, whatever is in them, without secrets; past their bound, the beginning of it."""
    try:
        # Plain values first: a model or a dataclass has keys that name secrets, too.
        plain = to_jsonable_python(value, fallback=repr, inf_nan_mode="strings")
        text = to_json(redactor.redact(plain), fallback=repr, inf_nan_mode="strings").decode()
    except (TaskCancelled, TaskTimeout):  # an interrupt that struck just here is the task's
        raise
    except Exception as error:  # noqa: BLE001 - it runs code of the values, and a log line must not fail a task
        text = to_json({"unprintable": f"{type(error).__name__}: {error}"[:1000]}).decode()
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


def running_task() -> TaskContext | None:
    """The task that the calling code runs in, or None."""
    return _current.get()


def bind_log(**fields: Any) -> None:
    """Have these fields on every log line from here on: in a task on those of its attempt (see TaskContext.bind),
    elsewhere on what structlog writes in this thread or coroutine."""
    context = _current.get()
    if context is not None:
        context.bind(**fields)
        return
    import structlog

    structlog.contextvars.bind_contextvars(**fields)


def bind(context: TaskContext) -> Any:
    """Make `context` the current one here; give the answer to `unbind`."""
    return _current.set(context)


def unbind(token: Any) -> None:
    """Undo `bind`."""
    _current.reset(token)
