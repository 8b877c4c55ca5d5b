"""What becomes of the word that an attempt began or ended: the same judgement whichever engine writes it."""

from __future__ import annotations

from typing import NamedTuple

from prismq.domain.lease import Settlement
from prismq.domain.status import LEASED, TaskStatus

_WAITING_AGAIN = (TaskStatus.QUEUED, TaskStatus.SCHEDULED)


class Held(NamedTuple):
    """The row as it is now; a line of held_state.sql."""

    status: str
    fencing_token: int
    revision: int
    queue: str
    type: str
    priority: int
    asked_to_stop: object  # true where somebody has asked


class Judged(NamedTuple):
    """`lost`: the lease is another's, or nobody's. `entry`: what is to be written; None where nothing is."""

    lost: bool
    entry: Settlement | None


def judged(entry: Settlement, held: Held | None) -> Judged:
    """Whether `entry` still holds for a row that is not as its holder left it."""
    if held is None or held.fencing_token != entry.lease.fencing_token:
        return Judged(True, None)
    status = TaskStatus(held.status)
    if status not in LEASED:
        # Written before, and the answer was lost on the way: once is enough. And a start may come
        # after the end that the task's own transaction wrote.
        return Judged(status is not entry.to and entry.to is not TaskStatus.PROCESSING, None)
    if entry.to is TaskStatus.PROCESSING and status is TaskStatus.PROCESSING:
        return Judged(False, None)
    if entry.to in _WAITING_AGAIN and held.asked_to_stop:
        return Judged(False, entry._replace(to=TaskStatus.CANCELLED, run_after=None, reason="cancelled while it ran"))
    return Judged(False, entry)


def outcome_of(entry: Settlement) -> str:
    """How the statistics call this end of an attempt."""
    if entry.to is TaskStatus.COMPLETED:
        return "completed"
    if entry.to is TaskStatus.SCHEDULED:
        return "retried" if entry.counts else "snoozed"
    if entry.to is TaskStatus.QUEUED:
        return "released"
    return str(entry.to)


def is_remembered(entry: Settlement) -> bool:
    """Whether the end gets a row in task_attempts: those that did not complete do."""
    return entry.to is not TaskStatus.PROCESSING and (entry.error is not None or entry.to is TaskStatus.CANCELLED)


def expected_revision(entry: Settlement) -> int:
    """Of a row that is as its holder left it: a start that was written raised it once since the claim."""
    return entry.lease.revision + (entry.was is TaskStatus.PROCESSING)
