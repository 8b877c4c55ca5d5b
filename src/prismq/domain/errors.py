"""Everything prismq raises. Each message says what happened, to what, and what to do.

PrismqError
  QueueDatabaseError          the store could not do what was asked
    QueueBusyError              locked by someone else for longer than the busy timeout
    QueueSchemaError            the file or schema is not what this version works with
    QueueBackupError
    QueueMaintenanceError
  ConfigurationError          a setting is wrong; names its key
  InvalidArgument             an argument or option of an enqueue is wrong; names it
    PayloadTooLarge
    InvalidCron
    UnstorableValue           a QueueDatabaseError, too: this database cannot keep it
  UnknownStatus, UnknownTask, TaskNotFound, InvalidTransition
  LeaseLost                   the attempt is no longer ours to finish
  TaskFailed                  raised by handle.result() for a task that did not complete
  ResultTimeout
Outcome signals, raised by a task's own code:
  Retry, PermanentError, Snooze
Raised into a task's code:
  TaskCancelled, TaskTimeout
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from difflib import get_close_matches


class PrismqError(Exception):
    """The root of everything prismq raises of its own accord."""


class QueueDatabaseError(PrismqError):
    """The store could not do what was asked."""


class QueueBusyError(QueueDatabaseError):
    """The database was locked by another program for longer than the busy timeout (SQLITE_BUSY)."""


class QueueSchemaError(QueueDatabaseError):
    """The file or its schema is not one that this version of prismq works with."""


class QueueBackupError(QueueDatabaseError):
    """A backup could not be made, verified or restored."""


class QueueMaintenanceError(QueueDatabaseError):
    """A maintenance operation could not be done."""


class ConfigurationError(PrismqError):
    """A setting is missing or wrong; the message names its key and where it came from."""


class InvalidArgument(PrismqError, ValueError):
    """An argument or an option is wrong. Nothing was enqueued."""


class PayloadTooLarge(InvalidArgument):
    """The arguments, as JSON, take more bytes than a task may hold."""

    def __init__(self, type_name: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the arguments of {type_name!r} take {size_bytes:,} bytes as JSON; the limit is {limit_bytes:,}. "
            f"Keep the data in a file or a table and enqueue where it lies. Nothing was enqueued."
        )


class InvalidCron(InvalidArgument):
    """A cron expression or its time zone cannot be read."""


class UnstorableValue(QueueDatabaseError, InvalidArgument):
    """This database cannot keep the value, such as the character U+0000 in PostgreSQL. Nothing was written."""


class UnknownStatus(PrismqError, ValueError):
    """No status has this name."""

    def __init__(self, text: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no status {text!r}; the statuses are {', '.join(known)}")


def closest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing where no known name is near."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class UnknownTask(PrismqError, LookupError):
    """No handler is registered under this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        listed = ", ".join(names) if names else "none: was the module that defines the tasks imported?"
        super().__init__(
            f"no handler is registered for task type {name!r}.{closest(name, names)} Known types: {listed}"
        )


class TaskNotFound(PrismqError, LookupError):
    """No task has this id; it may have been deleted or pruned after its retention time."""

    def __init__(self, task_id: int) -> None:
        self.task_id = task_id
        super().__init__(
            f"there is no task {task_id}; it was never enqueued, was deleted, or was pruned after its retention"
        )


class InvalidTransition(PrismqError):
    """A task cannot go from the status it has to the one asked for."""

    def __init__(self, task_id: int, before: str, after: str) -> None:
        self.task_id = task_id
        super().__init__(f"task {task_id} is {before} and cannot become {after}")


class LeaseLost(PrismqError):
    """The lease ran out, or was taken over, before the attempt was finished."""

    def __init__(self, task_id: int, attempt: int, type_name: str) -> None:
        self.task_id = task_id
        super().__init__(
            f"attempt {attempt} of task {task_id} ({type_name}) no longer holds its lease: it ran out and the task has "
            f"moved on, so nothing of this attempt was written. If {type_name!r} often outlasts its lease, raise "
            f"lease_duration_seconds; if the machine slept or was overloaded, there is nothing to do."
        )


class TaskFailed(PrismqError):
    """The task whose result was asked for ended without one."""

    def __init__(self, task_id: int, type_name: str, status: str, error: str | None) -> None:
        self.task_id, self.type, self.status, self.error = task_id, type_name, status, error
        because = f": {error}" if error else ""
        super().__init__(f"task {task_id} ({type_name}) ended as {status}{because}. See `prismq tasks show {task_id}`.")


class ResultTimeout(PrismqError, TimeoutError):
    """The task had not ended when the waiting time was over. It is still in the queue."""

    def __init__(self, task_id: int, status: str, timeout_s: float) -> None:
        self.task_id = task_id
        super().__init__(
            f"task {task_id} is still {status} after {timeout_s:g} s; it stays in the queue. "
            f"Is a worker running that serves it? See `prismq status`."
        )


class Retry(Exception):
    """Raise in a task to ask for another attempt, after `delay` seconds or the task's backoff."""

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        self.delay_s = delay.total_seconds() if isinstance(delay, timedelta) else delay
        super().__init__(reason or "the task asked for a retry")


class PermanentError(Exception):
    """Raise in a task when another attempt cannot help: the task becomes `failed` at once."""


class Snooze(Exception):
    """Raise in a task to put it back for `delay` seconds without using up an attempt."""

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        self.delay_s = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        super().__init__(reason or f"snoozed for {self.delay_s:g} s")


class TaskCancelled(BaseException):
    """Raised inside a task that was cancelled while it ran. Let it pass, after cleaning up."""


class TaskTimeout(BaseException):
    """Raised inside a task that ran longer than its timeout. Let it pass, after cleaning up."""
