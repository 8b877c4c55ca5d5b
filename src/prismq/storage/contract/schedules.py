"""Periodic tasks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from prismq.domain.task import NewTask


class Schedule(NamedTuple):
    """A periodic task. Times are seconds since 1970."""

    name: str
    expression: str
    timezone: str
    missed: str  # a MissedPolicy
    template: NewTask
    last_slot: float | None = None
    last_task_id: int | None = None
    paused_at: float | None = None


class ScheduleStore(Protocol):
    """Periodic tasks."""

    def declare(self, schedule: Schedule, now: float) -> None:
        """Insert it, or change its definition where it differs; what has fired is not forgotten.

        A new schedule, or one whose expression or time zone changed, fires no slot before now.
        """
        ...

    def time_at(self, now: float) -> float:
        """By what time slots are due when the caller's clock says `now`: the store's own, where it has a clock, so
        that a host whose clock is fast fires none before its time."""
        ...

    def all(self) -> list[Schedule]:
        """Every schedule, by name."""
        ...

    def fire(self, schedule: Schedule, slot: float, missed: int, now: float) -> int | None:
        """Enqueue the task of this slot and remember the slot, together; the id, or None where the slot,
        or a later one, was already fired by someone else, or the schedule is paused or gone."""
        ...

    def skip(self, name: str, slot: float) -> None:
        """Remember that slots up to `slot` were passed over."""
        ...

    def pause(self, name: str, paused: bool, now: float) -> bool:
        """False where there is no such schedule."""
        ...

    def remove(self, name: str) -> bool:
        """False where there is no such schedule."""
        ...
