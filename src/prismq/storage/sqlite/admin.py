"""Looking at tasks and acting on them: one by id, or all that match, a piece at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from prismq.domain.limits import FAILURES_LOOKED_AT, FILTER_CHUNK
from prismq.domain.task import Task, TaskAttempt, TaskFilter, TaskLog
from prismq.domain.times import epoch_to_text
from prismq.storage.contract import Cancelled
from prismq.storage.sqlite.books import Ledger
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.filters import place, where
from prismq.storage.sqlite.queries import query
from prismq.storage.sqlite.rows import built

_NEWEST_FAILURES = query("newest_failures")
_WAITING = "status IN ('scheduled', 'queued')"
_LEASED = "status IN ('claimed', 'processing')"
_ENDED = "status IN ('completed', 'failed', 'dead_letter', 'cancelled')"

_AMONG = "id IN (SELECT value FROM json_each(?))"

_Moved = tuple[str, str]  # status before, status after


class SqliteTaskAdmin:
    """The TaskAdmin protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    # -- looking

    def get(self, task_id: int) -> Task | None:
        """See TaskAdmin.get."""
        with self._database.lenient_text():
            row = self._database.execute("SELECT * FROM task_queue WHERE id = ?", (task_id,)).fetchone()
        return _task(row) if row else None

    def find(
        self, which: TaskFilter, *, limit: int = 100, before_id: int | None = None, from_id: int | None = None
    ) -> list[Task]:
        """See TaskAdmin.find."""
        condition, params = where(which)
        if before_id is not None:
            condition += " AND id < ?"
            params.append(before_id)
        table, its_condition = place(which)
        if from_id is not None:
            # The ids are the place to look: the conditions only choose among them.
            table, its_condition = "task_queue NOT INDEXED", "id >= ?"
            params.insert(0, from_id)
        sql = (
            f"SELECT * FROM task_queue WHERE id IN (SELECT id FROM {table} WHERE {its_condition} AND {condition}"
            " ORDER BY id DESC LIMIT ?) ORDER BY id DESC"
        )
        with self._database.lenient_text():
            rows = self._database.execute(sql, (*params, limit)).fetchall()
        return [_task(row) for row in rows]

    def newest_failures(self, *, queue: str | None = None, limit: int = 100) -> list[Task]:
        """See TaskAdmin.newest_failures."""
        look_at = limit if queue is None else FAILURES_LOOKED_AT
        with self._database.lenient_text():
            rows = self._database.execute(_NEWEST_FAILURES, (look_at, queue, limit)).fetchall()
        return [_task(row) for row in rows]

    def count(self, which: TaskFilter, *, at_most: int = 100_000) -> int:
        """See TaskAdmin.count."""
        condition, params = where(which)
        table, its_condition = place(which)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {its_condition} AND {condition} LIMIT ?)"
        return int(self._database.execute(sql, (*params, at_most)).fetchone()[0])

    def attempts(self, task_id: int) -> list[TaskAttempt]:
        """See TaskAdmin.attempts."""
        rows = self._database.execute(
            "SELECT * FROM task_attempts WHERE task_id = ? ORDER BY fencing_token", (task_id,)
        ).fetchall()
        return [TaskAttempt.from_dict(dict(row)) for row in rows]

    def logs(self, task_id: int, *, limit: int = 1000, after_id: int = 0) -> list[TaskLog]:
        """See TaskAdmin.logs."""
        rows = self._database.execute(
            "SELECT * FROM task_logs WHERE task_id = ? AND log_id > ? ORDER BY log_id LIMIT ?",
            (task_id, after_id, limit),
        ).fetchall()
        return [TaskLog.from_dict(dict(row)) for row in rows]

    # -- acting

    def cancel(self, which: TaskFilter, now: float) -> Cancelled:
        """See TaskAdmin.cancel."""
        text = epoch_to_text(now)

        def cancel_waiting(connection: sqlite3.Connection, row: sqlite3.Row) -> _Moved:
            connection.execute(
                "UPDATE task_queue SET status = 'cancelled', finished_at_utc = ?1, updated_at_utc = ?1,"
                " revision = revision + 1 WHERE id = ?2",
                (text, row["id"]),
            )
            self._log(connection, row, text, f"{row['status']} → cancelled")
            return row["status"], "cancelled"

        def ask_to_stop(connection: sqlite3.Connection, row: sqlite3.Row) -> _Moved:
            # The revision, so that a settlement on its way looks again before it queues a retry.
            connection.execute(
                "UPDATE task_queue SET cancel_requested_utc = coalesce(cancel_requested_utc, ?1), updated_at_utc = ?1,"
                " revision = revision + 1 WHERE id = ?2",
                (text, row["id"]),
            )
            self._log(connection, row, text, f"{row['status']}: asked to cancel")
            return row["status"], row["status"]

        waiting = self._each(which, _WAITING, now, cancel_waiting)
        return Cancelled(waiting, self._each(which, _LEASED, now, ask_to_stop))

    def retry(self, which: TaskFilter, now: float) -> int:
        """See TaskAdmin.retry."""
        text = epoch_to_text(now)

        def requeue(connection: sqlite3.Connection, row: sqlite3.Row) -> _Moved:
            connection.execute(
                "UPDATE task_queue SET status = 'queued', attempts = 0, crashes = 0, run_after_utc = ?1,"
                " finished_at_utc = NULL, locked_by = NULL, lease_until_utc = NULL, reserved_at_utc = NULL,"
                " processing_started_utc = NULL, result = NULL, progress = NULL, cancel_requested_utc = NULL,"
                " updated_at_utc = ?1, revision = revision + 1 WHERE id = ?2",
                (text, row["id"]),
            )
            self._log(connection, row, text, f"{row['status']} → queued: retried by an operator")
            return row["status"], "queued"

        return self._each(which, _ENDED, now, requeue)

    def run_now(self, which: TaskFilter, now: float) -> int:
        """See TaskAdmin.run_now."""
        text = epoch_to_text(now)

        def make_ready(connection: sqlite3.Connection, row: sqlite3.Row) -> _Moved:
            connection.execute(
                "UPDATE task_queue SET status = 'queued', run_after_utc = ?1, updated_at_utc = ?1,"
                " revision = revision + 1 WHERE id = ?2",
                (text, row["id"]),
            )
            self._log(connection, row, text, "scheduled → queued: run now")
            return row["status"], "queued"

        return self._each(which, "status = 'scheduled'", now, make_ready)

    def reprioritise(self, which: TaskFilter, priority: int, now: float) -> int:
        """See TaskAdmin.reprioritise."""
        text = epoch_to_text(now)

        def change(connection: sqlite3.Connection, row: sqlite3.Row) -> _Moved:
            connection.execute(
                "UPDATE task_queue SET priority = ?1, updated_at_utc = ?2, revision = revision + 1 WHERE id = ?3",
                (priority, text, row["id"]),
            )
            self._log(connection, row, text, f"priority {row['priority']} → {priority}")
            return row["status"], row["status"]

        return self._each(which, f"{_WAITING} AND priority <> {int(priority)}", now, change, priority=priority)

    def delete(self, which: TaskFilter) -> int:
        """See TaskAdmin.delete."""
        condition, params = where(which)
        status = f"NOT {_LEASED}"
        deleted = 0
        for ids in self._pieces(which, status):
            with self._database.transaction() as connection:
                deleted += connection.execute(
                    f"DELETE FROM task_queue WHERE {_AMONG} AND {condition} AND {status}", (ids, *params)
                ).rowcount
        return deleted

    def _pieces(self, which: TaskFilter, status: str) -> Iterator[str]:
        """The ids of what matches, FILTER_CHUNK at a time, as JSON.

        Looked for without the writer's lock: among millions of others that takes a while, and nobody is to wait
        for it. Who acts on them looks again.
        """
        condition, params = where(which)
        last_id = 0
        while True:
            rows = self._database.execute(
                f"SELECT id FROM task_queue WHERE {condition} AND {status} AND id > ? ORDER BY id LIMIT ?",
                (*params, last_id, FILTER_CHUNK),
            ).fetchall()
            if rows:
                last_id = rows[-1][0]
                yield json.dumps([task_id for (task_id,) in rows])
            if len(rows) < FILTER_CHUNK:
                return

    def _each(
        self,
        which: TaskFilter,
        status: str,
        now: float,
        act: Callable[[sqlite3.Connection, sqlite3.Row], _Moved],
        *,
        priority: int | None = None,
    ) -> int:
        """Do something to each task that matches, FILTER_CHUNK a transaction; how many there were."""
        condition, params = where(which)
        with self._database.transaction() as connection:
            Ledger(connection, now).close()  # rows written by hand have the status that they must have from here on
        done = 0
        for ids in self._pieces(which, status):
            with self._database.transaction() as connection:
                ledger = Ledger(connection, now)
                rows = connection.execute(
                    "SELECT id, queue, type, status, priority, attempts FROM task_queue"
                    f" WHERE {_AMONG} AND {condition} AND {status} ORDER BY id",
                    (ids, *params),
                ).fetchall()
                for row in rows:
                    before, after = act(connection, row)
                    new_priority = row["priority"] if priority is None else priority
                    ledger.change(
                        row["id"], row["queue"], row["type"], (before, row["priority"]), (after, new_priority)
                    )
                    if after == "cancelled":
                        ledger.ended(row["queue"], row["type"], "cancelled", attempts=row["attempts"])
                ledger.close()
            done += len(rows)
        return done

    @staticmethod
    def _log(connection: sqlite3.Connection, row: Any, at_text: str, message: str) -> None:
        connection.execute(
            "INSERT INTO task_logs (task_id, at_utc, level, message) VALUES (?, ?, 'INFO', ?)",
            (row["id"], at_text, message),
        )


def _task(row: sqlite3.Row) -> Task:
    return built(Task.from_dict, dict(row))
