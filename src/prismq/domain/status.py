"""The life of a task, as data. The diagram in the docs is generated from this table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from prismq.domain.errors import InvalidTransition, UnknownStatus


class TaskStatus(str, Enum):
    """Where a task is in its life; the value is what the `status` column holds."""

    SCHEDULED = "scheduled"  # not due yet: delayed, or waiting for a retry
    QUEUED = "queued"  # any fitting worker may claim it
    CLAIMED = "claimed"  # leased to one worker, handler not started
    PROCESSING = "processing"  # leased, handler running
    COMPLETED = "completed"
    FAILED = "failed"  # will not be retried: the error is permanent, or nobody knows the type
    DEAD_LETTER = "dead_letter"  # attempts used up, kept for a human
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


_S = TaskStatus

TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    _S.SCHEDULED: frozenset({_S.QUEUED, _S.CANCELLED}),
    # A queued row whose run_after was moved into the future goes back to waiting.
    _S.QUEUED: frozenset({_S.CLAIMED, _S.SCHEDULED, _S.CANCELLED}),
    # QUEUED again is a lease that ran out, or work given back; SCHEDULED is a retry or a snooze.
    _S.CLAIMED: frozenset(
        {_S.PROCESSING, _S.COMPLETED, _S.QUEUED, _S.SCHEDULED, _S.FAILED, _S.DEAD_LETTER, _S.CANCELLED}
    ),
    _S.PROCESSING: frozenset({_S.COMPLETED, _S.QUEUED, _S.SCHEDULED, _S.FAILED, _S.DEAD_LETTER, _S.CANCELLED}),
    # An operator asked for another try.
    _S.COMPLETED: frozenset({_S.QUEUED}),
    _S.FAILED: frozenset({_S.QUEUED}),
    _S.DEAD_LETTER: frozenset({_S.QUEUED}),
    _S.CANCELLED: frozenset({_S.QUEUED}),
}

TERMINAL: frozenset[TaskStatus] = frozenset({_S.COMPLETED, _S.FAILED, _S.DEAD_LETTER, _S.CANCELLED})
LEASED: frozenset[TaskStatus] = frozenset({_S.CLAIMED, _S.PROCESSING})
WAITING: frozenset[TaskStatus] = frozenset({_S.SCHEDULED, _S.QUEUED})

_ALIASES = {"running": _S.PROCESSING, "pending": _S.QUEUED, "dead": _S.DEAD_LETTER, "dlq": _S.DEAD_LETTER}


def parse_status(text: str) -> TaskStatus:
    """The status a person means: any letter case, and the spellings RUNNING and PENDING.

    Raises UnknownStatus, which lists the statuses there are.
    """
    key = text.strip().lower().replace("-", "_")
    if key in _ALIASES:
        return _ALIASES[key]
    try:
        return TaskStatus(key)
    except ValueError:
        raise UnknownStatus(text, [status.value for status in TaskStatus]) from None


_LEGAL = frozenset((before.value, after.value) for before, afters in TRANSITIONS.items() for after in afters)


def check_transition(task_id: int, before: str, after: str) -> None:
    """Raise InvalidTransition unless a task may go from `before` to `after`. The stores ask before each commit."""
    if (before, after) not in _LEGAL:
        raise InvalidTransition(task_id, before, after)
