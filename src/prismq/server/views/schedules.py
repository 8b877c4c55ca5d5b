"""The periodic tasks: when they ran, when they run next, and their expression in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.domain.cron import CronSchedule
from prismq.domain.errors import InvalidCron
from prismq.domain.task import Task
from prismq.server.views.cron_words import in_words
from prismq.server.views.values import preview
from prismq.storage.contract import Schedule

_NEXT_SHOWN = 3


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule as the table shows it. Times are seconds since 1970."""

    schedule: Schedule
    words: str
    next_at: Sequence[float]
    last: Task | None
    last_gone: bool  # it ran, and its task was pruned since
    payload: str
    wrong: str  # why it never fires; empty where it does


@dataclass(frozen=True)
class SchedulesPage:
    """The table."""

    rows: Sequence[ScheduleRow]
    at: float


def schedules_page(q: PrismQ) -> SchedulesPage:
    """All schedules, by name. Raises QueueDatabaseError."""
    now = q.clock.now()
    return SchedulesPage([_row(q, one, now) for one in q.store.schedules.all()], now)


def _row(q: PrismQ, one: Schedule, now: float) -> ScheduleRow:
    following: list[float] = []
    wrong = ""
    try:
        cron = CronSchedule.parse(one.expression, one.timezone)
        at = now
        for _ in range(_NEXT_SHOWN):
            at = cron.next_after(at)
            following.append(at)
    except InvalidCron as error:  # a row that was written by hand
        wrong = str(error)
    last = None if one.last_task_id is None else q.store.tasks.get(one.last_task_id)
    return ScheduleRow(
        one,
        in_words(one.expression),
        following if one.paused_at is None else [],
        last,
        one.last_task_id is not None and last is None,
        preview(one.template.payload, q.redactor),
        wrong,
    )
