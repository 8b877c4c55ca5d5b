"""Fires periodic tasks. Any number may run at once: the store lets each slot fire once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.cron import CronSchedule, MissedPolicy, due_slots
from prismq.domain.errors import InvalidCron
from prismq.domain.task import Enqueued, NewTask
from prismq.storage.contract import Schedule, ScheduleStore

_LOOK_S = 1.0  # schedules may be added, changed or resumed by others


class ScheduleTracing(Protocol):
    """What makes spans of the enqueues of schedules."""

    def submit(
        self, news: Sequence[NewTask], *, now: float, schedule: str | None = None
    ) -> AbstractContextManager[Callable[[list[Enqueued]], None]]:
        """See prismq.client.sender.SendTracing; where it is told of no task, nothing is recorded."""
        ...


class Scheduler:
    """`step()` enqueues the tasks of slots that have come, and says when to come again."""

    def __init__(
        self, store: ScheduleStore, clock: Clock, emit: ev.Emit, tracing: ScheduleTracing | None = None
    ) -> None:
        self._store = store
        self._tracing = tracing
        self._clock = clock
        self._emit = emit
        self._parsed: dict[tuple[str, str], CronSchedule | None] = {}

    def step(self) -> float:
        """Fire what is due."""
        now = self._store.time_at(self._clock.now())
        nearest = now + _LOOK_S
        for schedule in self._store.all():
            if schedule.paused_at is not None or schedule.last_slot is None:
                continue
            cron = self._parse(schedule)
            if cron is None:
                continue
            try:
                self._fire_due(schedule, cron, schedule.last_slot, now)
                nearest = min(nearest, cron.next_after(max(now, schedule.last_slot)))
            except ValueError:  # a policy written by hand, or no slot ever again: the other schedules go on
                continue
        return max(0.01, nearest - now)

    def _fire_due(self, schedule: Schedule, cron: CronSchedule, last_slot: float, now: float) -> None:
        due = due_slots(cron, last_slot, now, MissedPolicy(schedule.missed))
        missed = due.skipped
        for slot in due.times:
            task_id = self._fire(schedule, slot, missed)
            if task_id is not None:
                self._emit(ev.ScheduleFired(schedule.name, task_id, slot, missed))
            missed = 0
        if missed:
            self._store.skip(schedule.name, now)

    def _fire(self, schedule: Schedule, slot: float, missed: int) -> int | None:
        now = self._clock.now()
        if self._tracing is None:
            return self._store.fire(schedule, slot, missed, now)
        new = replace(schedule.template)
        with self._tracing.submit((new,), now=now, schedule=schedule.name) as sent:
            task_id = self._store.fire(schedule._replace(template=new), slot, missed, now)
            sent([] if task_id is None else [Enqueued(task_id, True)])
        return task_id

    def _parse(self, schedule: Schedule) -> CronSchedule | None:
        key = (schedule.expression, schedule.timezone)
        if key not in self._parsed:
            try:
                self._parsed[key] = CronSchedule.parse(*key)
            except InvalidCron:  # written by hand; `prismq schedules list` shows it
                self._parsed[key] = None
        return self._parsed[key]
