"""A lease, and how an attempt under it ends."""

from __future__ import annotations

from typing import NamedTuple

from prismq.domain.status import TaskStatus


class Lease(NamedTuple):
    """One attempt at one task, held by one worker until `lease_until` (seconds since 1970).

    A lease is over at lease_until itself, not after it. `fencing_token` grows with every claim of the task:
    whoever names an older one changes nothing. A tuple, because a busy worker makes thousands a second.
    """

    task_id: int
    fencing_token: int
    revision: int  # the row's, as the claim left it
    type: str
    queue: str
    priority: int
    payload: str
    attempt: int  # the first is 1
    max_attempts: int
    worker_id: str
    claimed_at: float
    lease_until: float
    run_after: float  # when it became due, for the wait time
    timeout_s: float | None
    backoff: str | None
    retention_s: float | None
    crashes: int  # workers lost while they held this task
    headers: str | None
    schedule: str | None
    idempotency_key: str | None


class ErrorInfo(NamedTuple):
    """What is kept of an exception: the type's qualified name, the message, the traceback as text."""

    type: str
    message: str
    traceback: str


class Settlement(NamedTuple):
    """How an attempt ended, or that it began: what the journal asks the store to write.

    `was` is the status this holder last wrote (CLAIMED, or PROCESSING once its start was written).
    `to` is PROCESSING for a start. Times are seconds since 1970.
    """

    lease: Lease
    was: TaskStatus
    to: TaskStatus
    at: float
    started_at: float | None = None  # None: the handler never ran
    run_after: float | None = None  # when SCHEDULED: the next attempt
    error: ErrorInfo | None = None
    result: str | None = None  # JSON
    counts: bool = True  # False gives the attempt back: released at shutdown, snoozed
    reason: str = ""  # for people: why, where it is not plain from the status


class LogLine(NamedTuple):
    """A row for `task_logs`. `level` is one of DEBUG, INFO, WARNING, ERROR, CRITICAL; `details` is JSON."""

    task_id: int
    at: float
    level: str
    message: str
    details: str | None = None
    attempt: int | None = None
