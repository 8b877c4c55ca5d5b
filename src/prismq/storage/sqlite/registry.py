"""Who works here, and what is asked of them."""

from __future__ import annotations

from dataclasses import fields

from prismq.domain.times import epoch_to_text, to_text
from prismq.domain.worker import Worker, WorkerCommand
from prismq.storage.contract import WorkerReport
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.queries import query
from prismq.storage.sqlite.rows import built

_COLUMNS = [column.name for column in fields(Worker)]
_REGISTER = (
    f"INSERT OR REPLACE INTO workers ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
)
_HEARTBEAT = """
UPDATE workers
   SET heartbeat_utc = ?1, status = ?2, slots = ?3, busy = ?4, held = ?5, completed = completed + ?6,
       failed = failed + ?7, retried = retried + ?8, last_claim_utc = coalesce(?9, last_claim_utc),
       last_look_utc = coalesce(?10, last_look_utc), cpu_percent = ?11, memory_bytes = ?12, note = ?13,
       run_s = run_s + ?14
 WHERE worker_id = ?15
"""
_LIVE = "status IN ('active', 'paused', 'draining')"
_WITH_ENDS_BY_HAND = {name: f"w.{name} + coalesce(e.{name}, 0) AS {name}" for name in ("completed", "failed")}
_WORKERS = (
    f"SELECT {', '.join(_WITH_ENDS_BY_HAND.get(name, f'w.{name}') for name in _COLUMNS)}"
    " FROM workers AS w LEFT JOIN ends_by_worker AS e ON e.worker_id = w.worker_id"
)
_TOUCH = query("touch_worker")
_FORGET_ENDS = "DELETE FROM ends_by_worker WHERE worker_id NOT IN (SELECT worker_id FROM workers)"


class SqliteWorkerRegistry:
    """The WorkerRegistry protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def register(self, worker: Worker, now: float) -> None:
        """See WorkerRegistry.register."""
        values = {name: getattr(worker, name) for name in _COLUMNS}
        for name in ("heartbeat_utc", "started_at_utc"):
            values[name] = epoch_to_text(now)
        for name in ("stopped_at_utc", "last_claim_utc", "last_look_utc"):
            values[name] = None if values[name] is None else to_text(values[name])
        self._database.execute(_REGISTER, values)

    def heartbeat(self, report: WorkerReport, now: float) -> bool:
        """See WorkerRegistry.heartbeat."""
        cursor = self._database.execute(
            _HEARTBEAT,
            (epoch_to_text(now), report.status, report.slots, report.busy, report.held, report.completed,
             report.failed, report.retried, _text(report.last_claim_at), _text(report.last_look_at),
             report.cpu_percent, report.memory_bytes, report.note, report.run_s, report.worker_id),
        )  # fmt: skip
        return cursor.rowcount > 0

    def touch(self, worker_id: str, now: float, capabilities: str | None = None) -> bool:
        """See WorkerRegistry.touch."""
        text = epoch_to_text(now)
        if capabilities is not None:
            cursor = self._database.execute(_TOUCH, (worker_id, capabilities, text))
        else:
            cursor = self._database.execute(
                "UPDATE workers SET heartbeat_utc = ? WHERE worker_id = ?", (text, worker_id)
            )
        return cursor.rowcount > 0

    def stop(self, worker_id: str, status: str, note: str | None, now: float) -> None:
        """See WorkerRegistry.stop."""
        self._database.execute(
            "UPDATE workers SET status = ?, note = ?, stopped_at_utc = ?, busy = 0, held = 0, hint_port = NULL"
            " WHERE worker_id = ?",
            (status, note, epoch_to_text(now), worker_id),
        )

    def get(self, worker_id: str) -> Worker | None:
        """See WorkerRegistry.get."""
        row = self._database.execute(f"{_WORKERS} WHERE w.worker_id = ?", (worker_id,)).fetchone()
        return built(Worker.from_dict, dict(row)) if row else None

    def all(self) -> list[Worker]:
        """See WorkerRegistry.all."""
        rows = self._database.execute(f"{_WORKERS} ORDER BY w.heartbeat_utc DESC, w.worker_id").fetchall()
        return [built(Worker.from_dict, dict(row)) for row in rows]

    def in_hand(self) -> dict[str, int]:
        """See WorkerRegistry.in_hand."""
        rows = self._database.execute(
            "SELECT locked_by, count(*) FROM task_queue"
            " WHERE status IN ('claimed', 'processing') AND locked_by IS NOT NULL GROUP BY locked_by"
        ).fetchall()
        return dict(rows)

    def ask(self, worker_id: str, command: WorkerCommand, argument: int | None, by: str, now: float) -> None:
        """See WorkerRegistry.ask."""
        self._database.execute(
            "INSERT INTO worker_commands (worker_id, command, argument, asked_by, asked_at_utc) VALUES (?, ?, ?, ?, ?)",
            (worker_id, command.value, argument, by, epoch_to_text(now)),
        )

    def take_commands(self, worker_id: str, now: float) -> list[tuple[WorkerCommand, int | None, str]]:
        """See WorkerRegistry.take_commands."""
        # A look first: this is asked often and there is rarely anything.
        waiting = "SELECT 1 FROM worker_commands WHERE worker_id = ? AND taken_at_utc IS NULL LIMIT 1"
        if not self._database.execute(waiting, (worker_id,)).fetchone():
            return []
        with self._database.transaction() as connection:
            rows = connection.execute(
                "UPDATE worker_commands SET taken_at_utc = ? WHERE worker_id = ? AND taken_at_utc IS NULL"
                " RETURNING command_id, command, argument, asked_by",
                (epoch_to_text(now), worker_id),
            ).fetchall()
        known = {command.value for command in WorkerCommand}  # one written by hand may be none of them
        rows = sorted((row for row in rows if row[1] in known), key=lambda row: row[0])
        return [(WorkerCommand(row[1]), row[2], row[3] or "") for row in rows]

    def hint_ports(self) -> list[int]:
        """See WorkerRegistry.hint_ports."""
        rows = self._database.execute(
            f"SELECT hint_port FROM workers WHERE hint_port IS NOT NULL AND {_LIVE}"
        ).fetchall()
        return [int(row[0]) for row in rows]

    def forget(self, before: float, *, holders: bool = False) -> int:
        """See WorkerRegistry.forget."""
        text = epoch_to_text(before)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM worker_commands WHERE asked_at_utc < ?", (text,))
            gone = connection.execute(
                # A time in ISO form, written by hand, does not compare with ours.
                "DELETE FROM workers WHERE coalesce(stopped_at_utc, strftime('%Y-%m-%d %H:%M:%f', heartbeat_utc),"
                " heartbeat_utc) < ?1 AND (?2 OR NOT EXISTS"
                " (SELECT 1 FROM task_queue AS t WHERE t.locked_by = workers.worker_id"
                " AND t.status IN ('claimed', 'processing')))",
                (text, holders),
            ).rowcount
            if gone:
                connection.execute(_FORGET_ENDS)
            return gone

    def remove(self, worker_id: str) -> bool:
        """See WorkerRegistry.remove."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM worker_commands WHERE worker_id = ?", (worker_id,))
            connection.execute("DELETE FROM ends_by_worker WHERE worker_id = ?", (worker_id,))
            return connection.execute("DELETE FROM workers WHERE worker_id = ?", (worker_id,)).rowcount > 0


def _text(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else epoch_to_text(epoch_s)
