"""The event that tells of an ending."""

from __future__ import annotations

from prismq.domain import events as ev
from prismq.domain.status import TaskStatus
from prismq.worker.attempt import Ending

_S = TaskStatus


def event_of(ending: Ending) -> ev.Event:
    """What to report once `ending` is written."""
    attempt = ending.attempt
    lease, extra = attempt.lease, attempt.extra
    started = attempt.started_at
    run_s = 0.0 if started is None else max(0.0, ending.at - started)
    if ending.to is _S.COMPLETED:
        wait_s = 0.0 if started is None else max(0.0, started - lease.run_after)
        return ev.TaskCompleted(lease, wait_s, run_s, extra)
    if ending.to is _S.SCHEDULED:
        delay_s = ending.delay_s or 0.0
        if ending.counts:
            return ev.TaskRetried(lease, ending.error, run_s, delay_s, extra)
        return ev.TaskSnoozed(lease, delay_s, ending.reason, extra)
    if ending.to is _S.DEAD_LETTER:
        return ev.TaskDeadLettered(lease, ending.error, run_s, ending.reason, extra)
    if ending.to is _S.CANCELLED:
        return ev.TaskCancelledEvent(lease, run_s, ending.reason, extra)
    if ending.to is _S.QUEUED:
        return ev.TaskReleased(lease, ending.reason, extra)
    return ev.TaskFailedForGood(lease, ending.error, run_s, ending.reason, extra)
