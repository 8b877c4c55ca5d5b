"""Log lines of tasks, from code of your own: to `task_logs`, and to the program's log beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from prismq.clock import Clock
from prismq.domain.errors import InvalidArgument
from prismq.domain.lease import LogLine
from prismq.domain.limits import LOG_MESSAGE_CHARS_MAX
from prismq.domain.outcome import describe, storable
from prismq.domain.redaction import Redactor
from prismq.domain.task import TaskLog
from prismq.domain.times import from_epoch, to_text
from prismq.observability.source import Source, require_queue, source_of
from prismq.worker.context import details_json

LEVELS = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
_DAY_S = 86_400.0
_REDACTOR = Redactor()


class TaskLogger:
    """Writes and reads log lines of tasks. `db`: a QueueDatabase, a PrismQ, or a store.

    What a task says itself goes through `current_task().log`, which costs less; this is for code around it.
    Nothing is opened before the first line. Raises InvalidArgument where `db` is none of these.
    """

    def __init__(self, db: Any, *, clock: Clock | None = None) -> None:
        require_queue(db)
        self._db, self._given_clock = db, clock
        self._told: set[str] = set()

    @cached_property
    def _source(self) -> Source:
        return source_of(self._db, self._given_clock)

    def log(self, task_id: int, level: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        """Write one line, at once. `level`: DEBUG, INFO, WARNING, ERROR or CRITICAL; another is stored as INFO.

        It waits for no disk: should the server or the machine crash, lines of the last half second may be gone.

        `details` are kept as JSON, with text in the place of values that JSON does not have. Message and details
        are cut to their bounds (8,192 characters, 65,536 bytes).

        Never raises: a line that cannot be written is lost, and a warning in the log `prismq.queue` says so, once
        for each kind of fault.
        """
        try:
            line = LogLine(
                int(task_id),
                self._source.clock.now(),
                level_of(level),
                storable(str(message))[:LOG_MESSAGE_CHARS_MAX],
                None if details is None else details_json(_as_dict(details), _REDACTOR),
            )
            if not self._source.store.logs.add(line):
                self._tell("no task", f"there is no task {task_id}")
        except Exception as error:  # noqa: BLE001 - whatever became of a log line, the task goes on
            self._tell(type(error).__name__, error)

    def _tell(self, kind: str, why: object) -> None:
        if kind not in self._told:
            self._told.add(kind)
            logging.getLogger("prismq.queue").warning(
                "a line for task_logs was not written (%s); told once, and the task went on", why
            )

    def get_task_logs(self, task_id: int, level: str | None = None, limit: int = 100) -> list[TaskLog]:
        """The lines of a task, newest first, at most `limit`; `level` keeps those of one level.

        Raises QueueDatabaseError.
        """
        return self._source.store.logs.newest(task_id=task_id, level=_upper(level), limit=limit)

    def get_recent_logs(self, limit: int = 100, level: str | None = None) -> list[TaskLog]:
        """The lines written last, of all tasks, newest first. Where DEBUG lines are rare among the latest 100,000
        lines, older ones are not looked for. Raises QueueDatabaseError."""
        return self._source.store.logs.newest(level=_upper(level), limit=limit)

    def delete_old_logs(self, days: float = 30) -> int:
        """Delete the lines older than so many days, in small pieces that hold nobody up; how many.

        Workers do this by themselves (`log_retention_seconds`). Raises InvalidArgument for a negative number, and
        QueueDatabaseError.
        """
        if not days >= 0:
            raise InvalidArgument(f"days is how old a line must be to go: 0 or more, not {days!r}")
        return self._source.store.logs.delete_before(max(0.0, self._source.clock.now() - days * _DAY_S))


class QueueLogger:
    """Writes events of tasks to two places at once: `task_logs`, and the program's log.

    `app_logger`: where the second goes (default: the logger `prismq.queue`). Its records have `task_id` and `details`
    as attributes. The methods never raise, as TaskLogger.log.
    """

    def __init__(self, db: Any, app_logger: logging.Logger | None = None, *, clock: Clock | None = None) -> None:
        self.task_logger = TaskLogger(db, clock=clock)
        self.app_logger = app_logger or logging.getLogger("prismq.queue")

    def log_task_event(self, task_id: int, level: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        """Log something that happened to a task; in the program's log it reads `Task 7: message`."""
        self._log(task_id, level, message, details)

    def log_task_transition(
        self, task_id: int, from_status: str, to_status: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """Log, as DEBUG, that a task went from one status to another: `queued → processing`."""
        known = {"from_status": str(from_status), "to_status": str(to_status)}
        self._log(task_id, "DEBUG", f"{from_status} → {to_status}", {**_as_dict(details), **known})

    def log_task_error(self, task_id: int, error: BaseException, details: Mapping[str, Any] | None = None) -> None:
        """Log an exception as ERROR. Details: `error_type`, `error_message` and `stack_trace`, with the exceptions
        that it came from."""
        info = describe(error)
        known = {"error_type": info.type, "error_message": info.message, "stack_trace": info.traceback}
        self._log(task_id, "ERROR", f"{info.type}: {info.message}", {**_as_dict(details), **known}, error)

    def log_task_retry(
        self,
        task_id: int,
        attempt: int,
        max_attempts: int,
        next_run_after: datetime | float,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Log, as WARNING, that a task will be tried again: `retry: attempt 2/5, not before 2026-01-02 03:04:05.000`.

        `next_run_after`: a datetime (naive ones are UTC) or seconds since 1970. Details: `attempt`, `max_attempts`,
        `next_run_after`.
        """
        moment = next_run_after if isinstance(next_run_after, datetime) else from_epoch(float(next_run_after))
        text = to_text(moment)
        known = {"attempt": attempt, "max_attempts": max_attempts, "next_run_after": text}
        message = f"retry: attempt {attempt}/{max_attempts}, not before {text}"
        self._log(task_id, "WARNING", message, {**_as_dict(details), **known})

    def _log(
        self,
        task_id: int,
        level: str,
        message: str,
        details: Mapping[str, Any] | None,
        error: BaseException | None = None,
    ) -> None:
        self.task_logger.log(task_id, level, message, details)
        self.app_logger.log(
            LEVELS[level_of(level)],
            "Task %s: %s",
            task_id,
            message,
            extra={"task_id": task_id, "details": details},
            exc_info=error,
        )


def level_of(level: object) -> str:
    """The level as the table has it; INFO for one that it does not have."""
    name = str(level).strip().upper()
    return name if name in LEVELS else "INFO"


def _upper(level: str | None) -> str | None:
    return None if level is None else level.strip().upper()


def _as_dict(details: object) -> dict[str, Any]:
    return dict(details) if isinstance(details, Mapping) else {} if details is None else {"details": details}
