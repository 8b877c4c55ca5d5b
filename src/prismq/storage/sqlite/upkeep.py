"""What has to happen whether or not anyone works: expired leases, retention, folding, booking."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from prismq.domain.limits import EXPIRE_CHUNK, PRUNE_CHUNK
from prismq.domain.outcome import after_lost_lease
from prismq.domain.status import TaskStatus
from prismq.domain.times import epoch_to_text
from prismq.storage.contract import ExpiredLease, Retention
from prismq.storage.contract.upkeep import Archiver
from prismq.storage.entries import FOLDS, HOUR_S, HOURS_KEPT_S, SPANS_S, STATS_KEPT_S
from prismq.storage.sqlite.books import Ledger
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.ends import book_ends, ends_wait
from prismq.storage.sqlite.queries import query
from prismq.storage.sqlite.statistics import TAKEN_CHUNK, drop_hours, slot_of, take_in
from prismq.storage.sqlite.stories import stories_of

_EXPIRE = query("expire")
_HELD_BY = query("held_by")
_RETURN_LEASE = query("return_lease")
_ADD_ATTEMPT = query("add_attempt")
_ADD_STATS = query("add_stats")
_TAIL_SPAN = query("tail_span")

_PRUNE_COMPLETED = query("past_retention_completed")
_PRUNE_FAILED = query("past_retention_failed")
_PRUNE_OWN = query("past_own_retention")
_LEASE_LOST = "WorkerLost"


class SqliteUpkeep:
    """The Upkeep protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
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
        """See Upkeep.expire_leases."""
        found = (epoch_to_text(now - overdue_s), json.dumps(list(dead_workers)), EXPIRE_CHUNK)
        # A look without the writer's lock: usually there is nothing to do.
        if not self._database.execute(_EXPIRE, found).fetchone():
            return []
        with self._database.transaction(wait_s=wait_s) as connection:
            ledger = Ledger(connection, now)
            rows = connection.execute(_EXPIRE, found).fetchall()
            expired = [self._return(connection, ledger, row, now, dead_workers, reason) for row in rows]
            ledger.close()
        return expired

    def take_back(self, worker_ids: Sequence[str], now: float, *, reason: str) -> list[ExpiredLease]:
        """See Upkeep.take_back."""
        found = (json.dumps(list(worker_ids)), EXPIRE_CHUNK)
        with self._database.transaction() as connection:
            ledger = Ledger(connection, now)
            rows = connection.execute(_HELD_BY, found).fetchall()
            taken = [self._return(connection, ledger, row, now, worker_ids, reason) for row in rows]
            ledger.close()
        return taken

    @staticmethod
    def _return(
        connection: sqlite3.Connection,
        ledger: Ledger,
        row: sqlite3.Row,
        now: float,
        dead: Sequence[str],
        reason: str,
    ) -> ExpiredLease:
        at = epoch_to_text(now)
        worker = row["locked_by"]
        why = reason if worker in dead and reason else "its lease ran out: the worker died, stopped, or lost the store"
        # The start of such a task is written before it runs (see worker/caution.py): if it is still only claimed,
        # it did not run, and the attempt is not its fault.
        cautious = row["crashes"] > 0 or row["attempts"] >= row["max_attempts"]
        innocent = cautious and row["status"] == "claimed"
        to = TaskStatus.QUEUED if innocent else after_lost_lease(row["attempts"], row["max_attempts"])
        if row["cancel_requested_utc"] is not None:
            to = TaskStatus.CANCELLED
        message = None
        if to is not TaskStatus.QUEUED:
            message = f"{_LEASE_LOST}: worker {worker} was lost during attempt {row['attempts']}; {why}"
        connection.execute(
            _RETURN_LEASE,
            (
                to.value,
                int(innocent),
                int(not innocent),
                at,
                message,
                row["id"],
                row["fencing_token"],
                row["revision"],
            ),
        )
        ledger.move(row["id"], row["queue"], row["type"], row["priority"], row["status"], to.value)
        ledger.ended(row["queue"], row["type"], "lost")
        if to is not TaskStatus.QUEUED:
            ledger.ended(row["queue"], row["type"], to.value, attempts=row["attempts"])
        connection.execute(
            _ADD_ATTEMPT,
            (row["id"], row["fencing_token"], row["attempts"], "lost", worker, row["reserved_at_utc"],
             row["processing_started_utc"], at, _LEASE_LOST, why, None, at if to is TaskStatus.QUEUED else None),
        )  # fmt: skip
        level = "WARNING" if to is TaskStatus.QUEUED else "ERROR"
        connection.execute(
            "INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt) VALUES (?, ?, ?, ?, ?, ?)",
            (row["id"], at, level, f"{row['status']} → {to.value}: worker lost; {why}",
             json.dumps({"worker_id": worker, "attempt": row["attempts"], "max_attempts": row["max_attempts"]}),
             row["attempts"]),
        )  # fmt: skip
        return ExpiredLease(row["id"], row["type"], worker, row["attempts"], to.value)

    def prune(self, retention: Retention, now: float, archive: Archiver | None = None) -> int:
        """See Upkeep.prune."""
        pruned = self._prune(_PRUNE_COMPLETED, epoch_to_text(now - retention.completed_s), archive)
        pruned += self._prune(_PRUNE_FAILED, epoch_to_text(now - retention.failed_s), archive)
        pruned += self._prune(_PRUNE_OWN, epoch_to_text(now), archive)
        self._database.execute("DELETE FROM unique_keys WHERE pending = 0 AND until_utc < ?", (epoch_to_text(now),))
        self._prune_logs(epoch_to_text(now - retention.logs_s))
        return pruned

    def _prune(self, sql: str, before: str, archive: Archiver | None) -> int:
        params = (before, PRUNE_CHUNK)
        if archive is None:
            if not self._database.execute(sql, params).fetchone():
                return 0
            with self._database.transaction() as connection:
                return connection.execute(f"DELETE FROM task_queue WHERE id IN ({sql})", params).rowcount
        found = self._database.execute(
            f"SELECT id, revision, fencing_token FROM task_queue WHERE id IN ({sql})", params
        ).fetchall()
        if not found:
            return 0
        archive(stories_of(self._database, [row["id"] for row in found]))
        with self._database.transaction() as connection:
            # What an operator queued again, or changed by hand, while it was written to the archive stays.
            return connection.executemany(
                "DELETE FROM task_queue WHERE id = ? AND revision = ? AND fencing_token = ?", map(tuple, found)
            ).rowcount

    def _prune_logs(self, before: str) -> None:
        # Log ids and times grow together: from the oldest on, a bounded stretch.
        self._database.execute(
            f"DELETE FROM task_logs WHERE log_id IN (SELECT log_id FROM task_logs ORDER BY log_id LIMIT {PRUNE_CHUNK})"
            " AND at_utc < ?",
            (before,),
        )

    def fold(self, now: float) -> int:
        """See Upkeep.fold. What is not in the totals yet stays as it is until it is."""
        gone = self._take_in()
        for span_s, older_than_s, into_s in FOLDS:
            gone += self._fold(span_s, into_s, now - older_than_s)
        cursor = self._database.execute(
            "DELETE FROM task_stats WHERE span_s = ? AND slot_utc < ? AND totalled = 1",
            (SPANS_S[-1], epoch_to_text(now - STATS_KEPT_S)),
        )
        gone += cursor.rowcount
        before = now - HOURS_KEPT_S
        look = "SELECT 1 FROM task_hours WHERE slot_utc < ? LIMIT 1"
        if self._database.execute(look, (slot_of(before, HOUR_S),)).fetchone():
            with self._database.transaction() as connection:
                gone += drop_hours(connection, before)
        return gone

    def _take_in(self) -> int:
        if not self._database.execute("SELECT 1 FROM task_stats WHERE totalled = 0 LIMIT 1").fetchone():
            return 0
        with self._database.transaction() as connection:
            taken = take_in(connection)
        # There is always a little: only a full chunk is a reason to come back soon.
        return taken if taken == TAKEN_CHUNK else 0

    def _fold(self, span_s: int, into_s: int, before: float) -> int:
        # Whole slots only: half of one would be folded twice.
        until = epoch_to_text(before - before % into_s)[:19]
        condition = "span_s = ? AND slot_utc < ? AND totalled = 1"
        params = (span_s, until)
        if not self._database.execute(f"SELECT 1 FROM task_stats WHERE {condition} LIMIT 1", params).fetchone():
            return 0
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"DELETE FROM task_stats WHERE rowid IN (SELECT rowid FROM task_stats WHERE {condition} LIMIT 2000)"
                " RETURNING CAST(strftime('%s', slot_utc) AS INTEGER), queue, type, outcome, tasks, attempts, retried,"
                " wait_s, run_s, wait_bins, run_bins",
                params,
            ).fetchall()
            connection.executemany(
                _ADD_STATS,
                [(epoch_to_text(row[0] - row[0] % into_s)[:19], into_s, *row[1:], 1) for row in rows],
            )
        return len(rows)

    def book(self, now: float) -> int:
        """See Upkeep.book."""
        booked, newest = self._database.execute(_TAIL_SPAN).fetchone()
        if newest <= booked and not ends_wait(self._database.get_connection()):
            return 0
        with self._database.transaction() as connection:
            ledger = Ledger(connection, now)
            ledger.close()
            ends = book_ends(connection)
        return ledger.booked_rows + ends

    def littered(self) -> list[str]:
        """See Upkeep.littered: SQLite uses the room of what was deleted at once."""
        return []

    def sweep(self, tables: Sequence[str]) -> None:
        """See Upkeep.sweep: there is nothing to do."""
