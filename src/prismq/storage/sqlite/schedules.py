"""Periodic tasks: a slot and its task are written together, so it fires once whoever tries."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict

from pydantic_core import from_json, to_json

from prismq.domain.task import NewTask
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import Schedule
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.inbox import SqliteInbox


class SqliteSchedules:
    """The ScheduleStore protocol on SQLite."""

    def __init__(self, database: QueueDatabase, inbox: SqliteInbox) -> None:
        self._database = database
        self._inbox = inbox

    def declare(self, schedule: Schedule, now: float) -> None:
        """See ScheduleStore.declare."""
        text = epoch_to_text(now)
        template = to_json(asdict(schedule.template)).decode()
        values = (schedule.name, schedule.expression, schedule.timezone, schedule.missed, template, text)
        same = "expression = ?2 AND timezone = ?3"
        row = self._database.execute("SELECT * FROM schedules WHERE schedule = ?", (schedule.name,)).fetchone()
        if row and (row["expression"], row["timezone"], row["missed"], row["template"]) == values[1:5]:
            return
        self._database.execute(
            "INSERT INTO schedules (schedule, expression, timezone, missed, template, last_slot_utc, updated_at_utc)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (schedule) DO UPDATE"
            f" SET last_slot_utc = CASE WHEN {same} THEN last_slot_utc ELSE max(last_slot_utc, ?6) END,"
            " expression = ?2, timezone = ?3, missed = ?4, template = ?5, updated_at_utc = ?6",
            values,
        )

    def time_at(self, now: float) -> float:
        """See ScheduleStore.time_at. A file has no clock."""
        return now

    def all(self) -> list[Schedule]:
        """See ScheduleStore.all."""
        rows = self._database.execute("SELECT * FROM schedules ORDER BY schedule").fetchall()
        found = []
        for row in rows:
            try:
                found.append(_schedule(row))
            except (ValueError, TypeError):  # written by hand, and cannot be read: the others fire all the same
                continue
        return found

    def fire(self, schedule: Schedule, slot: float, missed: int, now: float) -> int | None:
        """See ScheduleStore.fire."""
        with self._database.transaction() as connection:
            if not _advance(connection, schedule.name, slot):
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
                "UPDATE schedules SET last_task_id = ? WHERE schedule = ?", (done.task_id, schedule.name)
            )
        return done.task_id if done.created else None

    def skip(self, name: str, slot: float) -> None:
        """See ScheduleStore.skip."""
        with self._database.transaction() as connection:
            _advance(connection, name, slot)

    def pause(self, name: str, paused: bool, now: float) -> bool:
        """See ScheduleStore.pause. A resumed schedule does not make up for the pause."""
        text = epoch_to_text(now)
        sql = (
            "UPDATE schedules SET paused_at_utc = coalesce(paused_at_utc, ?2) WHERE schedule = ?1"
            if paused
            else "UPDATE schedules SET last_slot_utc = CASE WHEN paused_at_utc IS NULL THEN last_slot_utc"
            " ELSE max(last_slot_utc, ?2) END, paused_at_utc = NULL WHERE schedule = ?1"
        )
        return self._database.execute(sql, (name, text)).rowcount > 0

    def remove(self, name: str) -> bool:
        """See ScheduleStore.remove."""
        return self._database.execute("DELETE FROM schedules WHERE schedule = ?", (name,)).rowcount > 0


def _schedule(row: sqlite3.Row) -> Schedule:
    return Schedule(
        row["schedule"],
        row["expression"],
        row["timezone"],
        row["missed"],
        NewTask(**from_json(row["template"])),
        text_to_epoch(row["last_slot_utc"]),
        row["last_task_id"],
        text_to_epoch(row["paused_at_utc"]) if row["paused_at_utc"] else None,
    )


def _advance(connection: sqlite3.Connection, name: str, slot: float) -> bool:
    """Move the last slot forward; False where it is there already. It never goes back, whatever the clock does."""
    text = epoch_to_text(slot)
    return (
        connection.execute(
            "UPDATE schedules SET last_slot_utc = ?1 WHERE schedule = ?2 AND last_slot_utc < ?1"
            " AND paused_at_utc IS NULL",
            (text, name),
        ).rowcount
        > 0
    )
