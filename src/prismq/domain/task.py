"""A task, a log line and what it takes to enqueue one: values that mirror the columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple

from prismq.domain.times import from_text


def json_object(text: str | None) -> dict[str, Any]:
    """The object that `text` holds; `{}` where it is missing, is not JSON, or is not an object."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def json_list(text: str | None) -> list[Any]:
    """The list that `text` holds; `[]` where it is missing, is not JSON, or is not a list."""
    if not text:
        return []
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def _moment(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return from_text(str(value))


class _Row:
    """from_dict and to_dict for the dataclasses below: one field per column."""

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for column in fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            if column.name in data:
                value = data[column.name]
                values[column.name] = _moment(value) if column.name.endswith("_utc") else value
        return values

    def to_dict(self) -> dict[str, Any]:
        """One key per column; times as ISO 8601 text in UTC, so that the result can be JSON."""
        row = {}
        for column in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, column.name)
            row[column.name] = value.isoformat() if isinstance(value, datetime) else value
        return row


@dataclass
class Task(_Row):
    """A row of `task_queue`. Times are aware datetimes in UTC, JSON columns are text."""

    id: int | None = None
    type: str = ""
    queue: str = "default"
    priority: int = 100
    payload: str = "{}"
    compatibility: str = "{}"
    status: str = "queued"
    attempts: int = 0
    max_attempts: int = 5
    run_after_utc: datetime | None = None
    lease_until_utc: datetime | None = None
    reserved_at_utc: datetime | None = None
    processing_started_utc: datetime | None = None
    finished_at_utc: datetime | None = None
    locked_by: str | None = None
    error_message: str | None = None
    idempotency_key: str | None = None
    created_at_utc: datetime | None = None
    updated_at_utc: datetime | None = None
    region: str | None = None
    format: str | None = None
    tags: str | None = None
    timeout_seconds: float | None = None
    backoff: str | None = None
    retention_seconds: float | None = None
    result: str | None = None
    progress: str | None = None
    headers: str | None = None
    schedule: str | None = None
    crashes: int = 0
    cancel_requested_utc: datetime | None = None
    fencing_token: int = 0
    revision: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Task:
        """Build from a row or from `to_dict()`; unknown keys are passed over. Raises ValueError on a bad time."""
        return cls(**cls._from_dict(data))

    def get_payload_dict(self) -> dict[str, Any]:
        """The payload; `{}` where it is not a JSON object."""
        return json_object(self.payload)

    def get_compatibility_dict(self) -> dict[str, Any]:
        """What a worker must offer; `{}` where it is not a JSON object."""
        return json_object(self.compatibility)

    @property
    def state(self) -> str:
        """The status, or `cancelling` where a running task was asked to stop and has not stopped yet."""
        if self.cancel_requested_utc is not None and self.status in ("claimed", "processing"):
            return "cancelling"
        return self.status


@dataclass
class TaskLog(_Row):
    """A row of `task_logs`."""

    log_id: int | None = None
    task_id: int = 0
    at_utc: datetime | None = None
    level: str = "INFO"
    message: str | None = None
    details: str | None = None
    attempt: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskLog:
        """Build from a row or from `to_dict()`; unknown keys are passed over."""
        return cls(**cls._from_dict(data))

    def get_details_dict(self) -> dict[str, Any]:
        """The details; `{}` where they are not a JSON object."""
        return json_object(self.details)


@dataclass
class TaskAttempt(_Row):
    """A row of `task_attempts`: an attempt that did not complete. The last word is on the task itself."""

    task_id: int = 0
    attempt: int = 0
    outcome: str = ""
    worker_id: str | None = None
    reserved_at_utc: datetime | None = None
    started_at_utc: datetime | None = None
    finished_at_utc: datetime | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    retry_at_utc: datetime | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskAttempt:
        """Build from a row or from `to_dict()`; unknown keys are passed over."""
        return cls(**cls._from_dict(data))


@dataclass
class NewTask:
    """What is enqueued, checked and ready for a store. Middleware may change it before it is written.

    run_at is seconds since 1970 (None: now). unique_for_s holds `unique_key` for that many seconds;
    with unique_pending it also holds it until the task has ended.
    """

    type: str
    payload: str = "{}"
    queue: str = "default"
    priority: int = 100
    max_attempts: int = 5
    run_at: float | None = None
    compatibility: str = "{}"
    idempotency_key: str | None = None
    unique_key: str | None = None
    unique_for_s: float = 0.0
    unique_pending: bool = False
    tags: str | None = None
    timeout_s: float | None = None
    backoff: str | None = None
    retention_s: float | None = None
    headers: dict[str, str] = field(default_factory=dict)
    schedule: str | None = None


class Enqueued(NamedTuple):
    """What became of an enqueue: the id, and False where an earlier task with the same key was returned."""

    task_id: int
    created: bool


@dataclass(frozen=True)
class LogFilter:
    """Which log lines are looked for. Empty fields do not restrict; all given ones must match.

    `level`: this one and those above it. `text` is searched in message and details, without regard to case. Times
    are seconds since 1970, `after` included, `before` not.
    """

    task_id: int | None = None
    level: str = "DEBUG"
    text: str | None = None
    after: float | None = None
    before: float | None = None


class LogPage(NamedTuple):
    """Log lines, newest first, and where to look on: None where all have been looked at."""

    lines: list[TaskLog]
    next_before_id: int | None


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks an operator means. Empty fields do not restrict; all given ones must match.

    `text` is searched in payload and error message, without regard to case. Times are seconds since 1970.
    """

    ids: tuple[int, ...] = ()
    statuses: tuple[str, ...] = ()
    type: str | None = None
    queue: str | None = None
    schedule: str | None = None
    tag: str | None = None
    text: str | None = None
    created_before: float | None = None
    created_after: float | None = None

    @property
    def is_empty(self) -> bool:
        """True where the filter would take every task there is."""
        return self == TaskFilter()
