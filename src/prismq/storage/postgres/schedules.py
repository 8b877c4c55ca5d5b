"""Periodic tasks: a slot and its task are written together, so it fires once whoever tries.

Times are those of the schedules, not of a clock: a slot is the same moment on every host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic_core import from_json, to_json

from prismq.domain.task import NewTask
from prismq.domain.times import epoch_to_text, from_epoch, to_epoch
from prismq.storage.contract import Schedule
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.inbox import PostgresInbox
from prismq.storage.postgres.queries import query

_COLUMNS = "schedule, expression, timezone, missed, template, last_slot_utc, last_task_id, paused_at_utc"
_DECLARE = query("declare_schedule")
_ADVANCE = query("advance_schedule")
_RESUME = query("resume_schedule")


class PostgresSchedules:
    """The ScheduleStore protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase, inbox: PostgresInbox) -> None:
        self._database = database
        self._inbox = inbox

    def declare(self, schedule: Schedule, now: float) -> None:
        """See ScheduleStore.declare."""
        template = to_json(asdict(schedule.template)).decode()
        rows = self._all(f"SELECT {_COLUMNS} FROM schedules WHERE schedule = %s", (schedule.name,))
        if rows:
            same = rows[0][1:4] == (schedule.expression, schedule.timezone, schedule.missed)
            if same and from_json(rows[0][4]) == from_json(template):
                return
        values = {
            "name": schedule.name,
            "expression": schedule.expression,
            "timezone": schedule.timezone,
            "missed": schedule.missed,
            "template": template,
            "now": self._database.at(now),
        }
        self._write(_DECLARE, values)

    def time_at(self, now: float) -> float:
        """See ScheduleStore.time_at."""
        return now + self._database.skew_s()

    def all(self) -> list[Schedule]:
        """See ScheduleStore.all."""
        found = []
        for row in self._all(f'SELECT {_COLUMNS} FROM schedules ORDER BY schedule COLLATE "C"'):
            try:
                found.append(_schedule(row))
            except (ValueError, TypeError):  # written by hand, and cannot be read: the others fire all the same
                continue
        return found

    def fire(self, schedule: Schedule, slot: float, missed: int, now: float) -> int | None:
        """See ScheduleStore.fire."""
        with self._database.transaction() as connection:
            if not connection.execute(_ADVANCE, {"name": schedule.name, "slot": from_epoch(slot)}).rowcount:
                return None
            headers = {**schedule.template.headers, "prismq.slot": epoch_to_text(slot)}
            if missed:
                headers["prismq.missed"] = str(missed)
            # The key as well as the slot: a restored backup must not fire what had fired.
            key = f"{schedule.name}@{epoch_to_text(slot)}"
            new = NewTask(
                **{
                    **asdict(schedule.template),
                    "headers": headers,
                    "schedule": schedule.name,
                    "idempotency_key": key,
                }
            )
            done = self._inbox.enqueue(new, now)
            connection.execute(
                "UPDATE schedules SET last_task_id = %s WHERE schedule = %s", (done.task_id, schedule.name)
            )
        return done.task_id if done.created else None

    def skip(self, name: str, slot: float) -> None:
        """See ScheduleStore.skip."""
        self._write(_ADVANCE, {"name": name, "slot": from_epoch(slot)})

    def pause(self, name: str, paused: bool, now: float) -> bool:
        """See ScheduleStore.pause. A resumed schedule does not make up for the pause."""
        pause = "UPDATE schedules SET paused_at_utc = coalesce(paused_at_utc, %(now)s) WHERE schedule = %(name)s"
        return self._write(pause if paused else _RESUME, {"name": name, "now": self._database.at(now)}) > 0

    def remove(self, name: str) -> bool:
        """See ScheduleStore.remove."""
        return self._write("DELETE FROM schedules WHERE schedule = %s", (name,)) > 0

    def _all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            return connection.execute(sql, params).fetchall()

    def _write(self, sql: str, params: Any) -> int:
        with self._database.transaction() as connection:
            return connection.execute(sql, params).rowcount


def _schedule(row: tuple[Any, ...]) -> Schedule:
    name, expression, timezone, missed, template, last_slot, last_task_id, paused_at = row
    return Schedule(
        name,
        expression,
        timezone,
        missed,
        NewTask(**from_json(template)),
        to_epoch(last_slot),
        last_task_id,
        None if paused_at is None else to_epoch(paused_at),
    )
