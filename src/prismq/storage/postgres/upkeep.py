"""What has to happen whether or not anyone works: expired leases, retention, folding the books."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from prismq.domain.limits import EXPIRE_CHUNK, PRUNE_CHUNK
from prismq.domain.outcome import after_lost_lease
from prismq.domain.status import TaskStatus
from prismq.storage.contract import ExpiredLease, Retention
from prismq.storage.contract.upkeep import Archiver
from prismq.storage.postgres.books import Ledger
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.folding import fold_deltas, fold_stats
from prismq.storage.postgres.locks import alone
from prismq.storage.postgres.maintenance import littered, sweep
from prismq.storage.postgres.planning import plan_by_index
from prismq.storage.postgres.queries import query
from prismq.storage.postgres.stories import stories_of

_ANY_EXPIRED = query("any_expired")
_EXPIRE = query("expire")
_HELD_BY = query("held_by")
_RETURN_LEASES = query("return_leases")
_NOTE_LOST = query("note_lost")
_PAST_RETENTION_COMPLETED = query("past_retention_completed")
_PAST_RETENTION_FAILED = query("past_retention_failed")
_PAST_OWN_RETENTION = query("past_own_retention")
_DELETE_ENDED = query("delete_ended")
_PRUNE_LOGS = query("prune_logs")

_LEASE_LOST = "WorkerLost"
_RAN_OUT = "its lease ran out: the worker died, stopped, or lost the store"


class _Held(NamedTuple):
    """A row of expire.sql or held_by.sql."""

    id: int
    type: str
    queue: str
    priority: int
    status: str
    worker: str | None
    attempts: int
    max_attempts: int
    token: int
    reserved_at: Any
    started_at: Any
    crashes: int
    asked_to_stop: bool

    def judge(self) -> tuple[TaskStatus, bool]:
        """The status it gets, and whether the attempt is given back to it."""
        # The start of such a task is written before it runs (see worker/caution.py): if it is still only claimed,
        # it did not run, and the attempt is not its fault.
        cautious = self.crashes > 0 or self.attempts >= self.max_attempts
        innocent = cautious and self.status == "claimed"
        to = TaskStatus.QUEUED if innocent else after_lost_lease(self.attempts, self.max_attempts)
        return TaskStatus.CANCELLED if self.asked_to_stop else to, innocent


class PostgresUpkeep:
    """The Upkeep protocol on PostgreSQL.

    Of many processes that do the same at once one works and the others pass on: advisory locks, let go with the
    transaction, so that a dead process holds none.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def expire_leases(
        self,
        now: float,
        *,
        dead_workers: Sequence[str] = (),
        reason: str = "",
        overdue_s: float = 0.0,
        wait_s: float | None = None,
    ) -> list[ExpiredLease]:
        """See Upkeep.expire_leases. Nothing here locks the whole database."""
        found = {"now": self._database.at(now - overdue_s), "dead": list(dead_workers), "limit": EXPIRE_CHUNK}
        # A look without a transaction: usually there is nothing to do.
        with self._database.reading() as connection:
            if not connection.execute(_ANY_EXPIRED, found).fetchone():
                return []
        with self._database.transaction() as connection:
            # Whoever knows of the dead waits his turn: what he does not return now would wait for its lease's end.
            if not alone(self._database, connection, "expire", wait=bool(dead_workers)):
                return []
            return self._end(connection, connection.execute(_EXPIRE, found).fetchall(), now, dead_workers, reason)

    def take_back(self, worker_ids: Sequence[str], now: float, *, reason: str) -> list[ExpiredLease]:
        """See Upkeep.take_back."""
        found = {"workers": list(worker_ids), "limit": EXPIRE_CHUNK}
        with self._database.transaction() as connection:
            return self._end(connection, connection.execute(_HELD_BY, found).fetchall(), now, worker_ids, reason)

    def _end(
        self, connection: Connection, rows: list[tuple[Any, ...]], now: float, dead: Sequence[str], reason: str
    ) -> list[ExpiredLease]:
        if not rows:
            return []
        ledger = Ledger(connection, now + self._database.skew_s())
        ended: list[ExpiredLease] = []
        returned: dict[str, list[Any]] = {name: [] for name in ("ids", "statuses", "innocent", "errors")}
        noted: dict[str, list[Any]] = {
            name: []
            for name in (
                "tokens", "attempts", "workers", "reserved", "started", "reasons", "retried", "levels", "messages",
                "details",
            )
        }  # fmt: skip
        for held in map(_Held._make, rows):
            to, innocent = held.judge()
            again = to is TaskStatus.QUEUED
            why = reason if held.worker in dead and reason else _RAN_OUT
            lost = f"{_LEASE_LOST}: worker {held.worker} was lost during attempt {held.attempts}; {why}"
            _append(returned, held.id, to.value, innocent, None if again else lost)
            details = {"worker_id": held.worker, "attempt": held.attempts, "max_attempts": held.max_attempts}
            _append(
                noted, held.token, held.attempts, held.worker, held.reserved_at, held.started_at, why, again,
                "WARNING" if again else "ERROR", f"{held.status} → {to.value}: worker lost; {why}", json.dumps(details),
            )  # fmt: skip
            ledger.move(held.id, held.queue, held.type, held.priority, held.status, to.value)
            ledger.ended(held.queue, held.type, "lost")
            if not again:
                ledger.ended(held.queue, held.type, to.value, attempts=held.attempts)
            ended.append(ExpiredLease(held.id, held.type, held.worker, held.attempts, to.value))
        at = self._database.at(now)
        connection.execute(_RETURN_LEASES, {**returned, "now": at})
        connection.execute(_NOTE_LOST, {**noted, "ids": returned["ids"], "now": at, "error_type": _LEASE_LOST})
        ledger.close()
        return ended

    def prune(self, retention: Retention, now: float, archive: Archiver | None = None) -> int:
        """See Upkeep.prune."""
        pruned = self._prune(_PAST_RETENTION_COMPLETED, now - retention.completed_s, archive)
        pruned += self._prune(_PAST_RETENTION_FAILED, now - retention.failed_s, archive)
        pruned += self._prune(_PAST_OWN_RETENTION, now, archive)
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM unique_keys WHERE NOT pending AND until_utc < %s", (self._database.at(now),)
            )
        with self._database.transaction() as connection:
            before = self._database.at(now - retention.logs_s)
            connection.execute(_PRUNE_LOGS, {"before": before, "limit": PRUNE_CHUNK})
        return pruned

    def _prune(self, sql: str, before: float, archive: Archiver | None) -> int:
        past = {"before": self._database.at(before), "limit": PRUNE_CHUNK}
        with self._database.transaction() as connection:
            if archive is None and not alone(self._database, connection, "prune"):
                return 0
            plan_by_index(connection)
            found = connection.execute(sql, past).fetchall()
            if found and archive is None:
                return self._delete(connection, found)
        if not found or archive is None:
            return 0
        archive(stories_of(self._database, [task_id for task_id, _, _ in found]))
        with self._database.transaction() as connection:
            return self._delete(connection, found)

    @staticmethod
    def _delete(connection: Connection, found: list[tuple[Any, ...]]) -> int:
        return connection.execute(_DELETE_ENDED, [list(column) for column in zip(*found, strict=True)]).rowcount

    def fold(self, now: float) -> int:
        """See Upkeep.fold."""
        return fold_stats(self._database, now)

    def book(self, now: float) -> int:
        """See Upkeep.book: how many entries were folded."""
        return fold_deltas(self._database, now)

    def littered(self) -> list[str]:
        """See Upkeep.littered."""
        return littered(self._database)

    def sweep(self, tables: Sequence[str]) -> None:
        """See Upkeep.sweep."""
        sweep(self._database, tables)


def _append(columns: dict[str, list[Any]], *values: Any) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)
