"""Who works here, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from prismq.domain.times import from_epoch
from prismq.domain.worker import Worker, WorkerCommand
from prismq.storage.contract import WorkerReport
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.queries import query

_COLUMNS = [column.name for column in fields(Worker)]
_REGISTER = (
    f"INSERT INTO workers ({', '.join(_COLUMNS)}) VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)})"
    f" ON CONFLICT (worker_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)
_WITH_ENDS_BY_HAND = {name: f"w.{name} + coalesce(e.{name}, 0)" for name in ("completed", "failed")}
_SELECT = (
    f"SELECT {', '.join(_WITH_ENDS_BY_HAND.get(name, f'w.{name}') for name in _COLUMNS)}"
    " FROM workers AS w LEFT JOIN ends_by_worker AS e ON e.worker_id = w.worker_id"
)
_HEARTBEAT = query("heartbeat")
_TAKE_COMMANDS = query("take_commands")
_TOUCH = query("touch_worker")
_FORGET = query("forget_workers")
_FORGET_ENDS = "DELETE FROM ends_by_worker WHERE worker_id NOT IN (SELECT worker_id FROM workers)"
_IN_HAND = (
    "SELECT locked_by, count(*) FROM task_queue"
    " WHERE status IN ('claimed', 'processing') AND locked_by IS NOT NULL GROUP BY locked_by"
)
_LIVE = "status IN ('active', 'paused', 'draining')"


class PostgresWorkerRegistry:
    """The WorkerRegistry protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def register(self, worker: Worker, now: float) -> None:
        """See WorkerRegistry.register."""
        values = {name: getattr(worker, name) for name in _COLUMNS}
        values["heartbeat_utc"] = values["started_at_utc"] = self._database.at(now)
        self._write(_REGISTER, values)

    def heartbeat(self, report: WorkerReport, now: float) -> bool:
        """See WorkerRegistry.heartbeat."""
        values = {
            **report._asdict(),
            "now": self._database.at(now),
            "last_claim": self._moment(report.last_claim_at),
            "last_look": self._moment(report.last_look_at),
        }
        return self._write(_HEARTBEAT, values) > 0

    def touch(self, worker_id: str, now: float, capabilities: str | None = None) -> bool:
        """See WorkerRegistry.touch."""
        values = {"worker_id": worker_id, "now": self._database.at(now), "capabilities": capabilities}
        if capabilities is not None:
            return self._write(_TOUCH, values) > 0
        return self._write("UPDATE workers SET heartbeat_utc = %(now)s WHERE worker_id = %(worker_id)s", values) > 0

    def stop(self, worker_id: str, status: str, note: str | None, now: float) -> None:
        """See WorkerRegistry.stop."""
        self._write(
            "UPDATE workers SET status = %s, note = %s, stopped_at_utc = %s, busy = 0, held = 0, hint_port = NULL"
            " WHERE worker_id = %s",
            (status, note, self._database.at(now), worker_id),
        )

    def get(self, worker_id: str) -> Worker | None:
        """See WorkerRegistry.get."""
        rows = self._all(f"{_SELECT} WHERE w.worker_id = %s", (worker_id,))
        return self._worker(rows[0]) if rows else None

    def all(self) -> list[Worker]:
        """See WorkerRegistry.all."""
        with self._database.reading() as connection:
            return self.ask_all(connection)()

    def ask_all(self, connection: Connection) -> Callable[[], list[Worker]]:
        """Sent; what it returns waits for the answer."""
        cursor = connection.execute(f"{_SELECT} ORDER BY w.heartbeat_utc DESC, w.worker_id")
        return lambda: [self._worker(row) for row in cursor.fetchall()]

    def in_hand(self) -> dict[str, int]:
        """See WorkerRegistry.in_hand."""
        return dict(self._all(_IN_HAND))

    def ask(self, worker_id: str, command: WorkerCommand, argument: int | None, by: str, now: float) -> None:
        """See WorkerRegistry.ask."""
        self._write(
            "INSERT INTO worker_commands (worker_id, command, argument, asked_by, asked_at_utc)"
            " VALUES (%s, %s, %s, %s, %s)",
            (worker_id, command.value, argument, by, self._database.at(now)),
        )

    def take_commands(self, worker_id: str, now: float) -> list[tuple[WorkerCommand, int | None, str]]:
        """See WorkerRegistry.take_commands."""
        # A look first: this is asked often and there is rarely anything.
        if not self._all("SELECT 1 FROM worker_commands WHERE worker_id = %s AND taken_at_utc IS NULL", (worker_id,)):
            return []
        with self._database.transaction() as connection:
            rows = connection.execute(_TAKE_COMMANDS, (self._database.at(now), worker_id)).fetchall()
        known = {command.value for command in WorkerCommand}  # one written by hand may be none of them
        return [(WorkerCommand(row[1]), row[2], row[3] or "") for row in sorted(rows) if row[1] in known]

    def hint_ports(self) -> list[int]:
        """See WorkerRegistry.hint_ports."""
        return [port for (port,) in self._all(f"SELECT hint_port FROM workers WHERE hint_port IS NOT NULL AND {_LIVE}")]

    def forget(self, before: float, *, holders: bool = False) -> int:
        """See WorkerRegistry.forget."""
        moment = self._database.at(before)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM worker_commands WHERE asked_at_utc < %s", (moment,))
            gone = connection.execute(_FORGET, (moment, holders)).rowcount
            if gone:
                connection.execute(_FORGET_ENDS)
            return gone

    def remove(self, worker_id: str) -> bool:
        """See WorkerRegistry.remove."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM worker_commands WHERE worker_id = %s", (worker_id,))
            connection.execute("DELETE FROM ends_by_worker WHERE worker_id = %s", (worker_id,))
            return connection.execute("DELETE FROM workers WHERE worker_id = %s", (worker_id,)).rowcount > 0

    def _moment(self, epoch_s: float | None) -> datetime | None:
        return None if epoch_s is None else self._database.at(epoch_s)

    def _worker(self, row: tuple[Any, ...]) -> Worker:
        # By this host's clock, which is what the reader compares a heartbeat with.
        mine = (from_epoch(self._database.back(value)) if isinstance(value, datetime) else value for value in row)
        return Worker.from_dict(dict(zip(_COLUMNS, mine, strict=True)))

    def _all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            return connection.execute(sql, params).fetchall()

    def _write(self, sql: str, params: Any) -> int:
        with self._database.reading() as connection:  # one statement is a transaction of its own
            return connection.execute(sql, params).rowcount
