"""What a worker process asks for: write the journal and claim more, in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from prismq.domain.errors import LeaseLost, QueueDatabaseError
from prismq.domain.lease import LogLine, Settlement
from prismq.domain.limits import PROMOTE_CHUNK
from prismq.domain.status import TaskStatus
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import Batch, ClaimRequest, Exchanged, RenewedLease
from prismq.storage.settling import Held, expected_revision, is_remembered, judged, outcome_of
from prismq.storage.sqlite.blocks import execute_blocks
from prismq.storage.sqlite.books import READY_SLACK_S, Ledger
from prismq.storage.sqlite.claims import claim as take
from prismq.storage.sqlite.claims import find_lanes, leases_of, pick, take_probes
from prismq.storage.sqlite.database import QueueDatabase, guest, savepoint
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.queries import query

_START = query("start")
_COMPLETE = query("complete")
_SETTLE = query("settle")
_HELD_STATE = query("held_state")
_ADD_ATTEMPT = query("add_attempt")
_ADD_LOG = query("add_log")
_ADD_LOG_IF_TASK = query("add_log_if_task")
_ADD_SPANS = query("add_spans")
_SET_PROGRESS = query("set_progress")
_SET_RESULT = query("set_result")
_AWAIT_RESULT = query("await_result")
_DUE_EXISTS = query("due_exists")
_NEXT_DUE = query("next_due")
_PROMOTE = query("promote")
_RENEW = query("renew")
_CANCEL_REQUESTS = query("cancel_requests")

_WORD = {status: status.value for status in TaskStatus}  # Enum's own `value` is a call


class _Mismatch(Exception):
    """A row is not as its holder left it: the batch is written again, row by row and with a look first."""


class SqliteWork:
    """The WorkStore protocol on SQLite."""

    is_remote = False

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    # -- the exchange

    def exchange(self, batch: Batch, claim: ClaimRequest | None, now: float) -> Exchanged:
        """See WorkStore.exchange."""
        try:
            return self._exchange_or_not(batch, claim, now)
        except QueueDatabaseError as error:
            if "decode to UTF-8" not in str(error):
                raise
        # One row written by hand, in some other encoding, must not stop everybody's work. Not within the `except`:
        # what the error holds on to is the very statement that stands in the way of the next commit.
        with self._database.lenient_text():
            return self._exchange_or_not(batch, claim, now)

    def _exchange_or_not(self, batch: Batch, claim: ClaimRequest | None, now: float) -> Exchanged:
        if not batch and not (claim is not None and self._worth_a_transaction(claim, now)):
            return Exchanged(frozenset(), [])
        try:
            return self._exchange(batch, claim, now, careful=False)
        except (_Mismatch, sqlite3.IntegrityError):
            return self._exchange(batch, claim, now, careful=True)

    def _worth_a_transaction(self, claim: ClaimRequest, now: float) -> bool:
        """Whether a look without the writer's lock finds anything: an idle worker must not hold up others."""
        with translated(str(self._database.db_path)):
            connection = self._database.get_connection()
            if connection.execute(_DUE_EXISTS, (epoch_to_text(now),)).fetchone():
                return True
            return bool(find_lanes(connection, claim)[0])

    def _exchange(self, batch: Batch, claim: ClaimRequest | None, now: float, *, careful: bool) -> Exchanged:
        now_text = epoch_to_text(now)
        # Rows are built before the writer's lock is taken and leases after it is given back: other processes wait.
        rows = None if careful else _Rows(batch)
        ids: list[int] = []
        claimed: list[tuple[Any, ...]] = []
        with self._database.transaction(keep_integrity_errors=not careful) as connection:
            ledger = Ledger(connection, now)
            writer = _Writer(connection, ledger)
            lost = writer.settle_carefully(batch) if rows is None else writer.settle(batch, rows)
            if claim is not None:
                promote(connection, ledger, now_text)
                lanes, room = find_lanes(connection, claim)
                ids = pick(connection, claim, lanes, room, epoch_to_text(now + READY_SLACK_S)) if lanes else []
                if ids:
                    claimed = take(connection, claim, ids, ledger, now)
                    take_probes(connection, lanes, claimed, now)
            ledger.close()
        return Exchanged(lost, leases_of(claimed, claim, ids, now) if claim is not None else [])

    # -- leases

    def renew(
        self, worker_ids: Sequence[str], lease_s: float, now: float, *, only: Sequence[int] | None = None
    ) -> list[RenewedLease]:
        """See WorkStore.renew."""
        if not worker_ids:
            return []
        tasks = None if only is None else json.dumps(list(only))
        rows = self._all(_RENEW, (json.dumps(list(worker_ids)), epoch_to_text(now + lease_s), tasks), write=True)
        return [RenewedLease(task_id, token, bool(asked)) for task_id, token, asked in rows]

    def cancel_requests(self, worker_id: str) -> list[tuple[int, int]]:
        """See WorkStore.cancel_requests."""
        return [(task_id, token) for task_id, token in self._all(_CANCEL_REQUESTS, (worker_id,))]

    def next_due(self) -> float | None:
        """See WorkStore.next_due."""
        text = self._all(_NEXT_DUE)[0][0]
        try:
            return text_to_epoch(text) if text else None
        except ValueError:  # a time written by hand that nobody can read; what it hides is found by polling
            return None

    def complete_within(self, connection: Any, settlement: Settlement) -> None:
        """See WorkStore.complete_within."""
        held = settlement.lease
        now = settlement.at
        # A savepoint: a caller that catches LeaseLost and commits must not commit half of the books.
        with translated(str(self._database.db_path)), guest(connection), savepoint(connection):
            ledger = Ledger(connection, now)
            if _Writer(connection, ledger).settle_carefully(Batch(settlements=[settlement])):
                raise LeaseLost(held.task_id, held.attempt, held.type)
            ledger.close()
            until = epoch_to_text(now + held.lease_until - held.claimed_at)
            connection.execute(_AWAIT_RESULT, (until, held.task_id, held.fencing_token))

    def own_transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """See WorkStore.own_transaction."""
        if self._database.in_transaction:
            # An outer one could still be rolled back, and the task's completion with it, when nobody knows any more.
            raise QueueDatabaseError(
                "task.transaction() was called inside q.transaction(), and must be the outermost: enqueue inside it"
            )
        return self._database.transaction()

    def _all(self, sql: str, params: tuple[Any, ...] = (), *, write: bool = False) -> list[Any]:
        if write:
            with self._database.transaction() as connection:
                return connection.execute(sql, params).fetchall()
        with translated(str(self._database.db_path)):
            return self._database.get_connection().execute(sql, params).fetchall()


def promote(connection: sqlite3.Connection, ledger: Ledger, now_text: str) -> int:
    """Queue what has become due, a bounded number; how many."""
    if not connection.execute(_DUE_EXISTS, (now_text,)).fetchone():
        return 0
    rows = connection.execute(_PROMOTE, (now_text, PROMOTE_CHUNK)).fetchall()
    for task_id, queue, type_, priority in rows:
        ledger.move(task_id, queue, type_, priority, "scheduled", "queued")
    return len(rows)


class _Rows:
    """A batch as the parameters of statements, on the supposition that every row is as its holder left it."""

    def __init__(self, batch: Batch) -> None:
        self.starts: list[tuple[Any, ...]] = []
        self.completions: list[tuple[Any, ...]] = []
        self.others: list[tuple[Any, ...]] = []
        self.attempts = [_attempt_row(entry) for entry in batch.settlements if is_remembered(entry)]
        for entry in batch.settlements:
            if entry.to is TaskStatus.PROCESSING:
                self.starts.append(_start_row(entry, entry.lease.revision))
            elif entry.to is TaskStatus.COMPLETED:
                self.completions.append(_completion_row(entry, expected_revision(entry), entry.was))
            else:
                self.others.append(_settle_row(entry, expected_revision(entry), entry.was))
        self.logs = _log_rows(batch.logs)


class _Writer:
    """Writes one batch inside one transaction."""

    def __init__(self, connection: sqlite3.Connection, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger

    def settle(self, batch: Batch, rows: _Rows) -> frozenset[tuple[int, int]]:
        """The usual way: every row is as its holder left it, so a few statements write them all."""
        self._progress(batch)
        self._expect(_START, rows.starts)
        if execute_blocks(self._connection, _COMPLETE, rows.completions) != len(rows.completions):
            raise _Mismatch
        self._expect(_SETTLE, rows.others)
        self._ledger.settled_all(batch.settlements)
        self._connection.executemany(_ADD_ATTEMPT, rows.attempts)
        execute_blocks(self._connection, _ADD_LOG, rows.logs)
        self._rest(batch)
        return frozenset()

    def _expect(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        if rows and self._connection.executemany(sql, rows).rowcount != len(rows):
            raise _Mismatch

    def settle_carefully(self, batch: Batch) -> frozenset[tuple[int, int]]:
        """Row by row, each looked at first: some lease is lost, or somebody changed a row by hand."""
        lost: set[tuple[int, int]] = set()
        gone: set[tuple[int, int | None]] = set()  # the same as (task, attempt), which is what log lines name
        self._progress(batch)
        for said in batch.settlements:
            lease = said.lease
            row = self._connection.execute(_HELD_STATE, (lease.task_id,)).fetchone()
            held = None if row is None else Held._make(row)
            is_lost, entry = judged(said, held)
            if is_lost:
                gone.add((lease.task_id, lease.attempt))
                lost.add((lease.task_id, lease.fencing_token))
            if entry is not None and held is not None:
                self._write_one(entry, held.revision, TaskStatus(held.status))
                self._ledger.settled(entry, held.queue, held.type, held.priority, held.status)
        kept = [line for line in batch.logs if (line.task_id, line.attempt) not in gone]
        self._connection.executemany(_ADD_LOG_IF_TASK, _log_rows(kept))
        self._rest(batch)
        return frozenset(lost)

    def _write_one(self, entry: Settlement, revision: int, before: TaskStatus) -> None:
        if entry.to is TaskStatus.PROCESSING:
            self._connection.execute(_START, _start_row(entry, revision))
        elif entry.to is TaskStatus.COMPLETED:
            self._connection.execute(_COMPLETE, _completion_row(entry, revision, before))
        else:
            self._connection.execute(_SETTLE, _settle_row(entry, revision, before))
        if is_remembered(entry):
            self._connection.execute(_ADD_ATTEMPT, _attempt_row(entry))

    def _progress(self, batch: Batch) -> None:
        # Before the ends: a short task's last word comes with its end, and is written only while the lease is held.
        if batch.progress:
            self._connection.executemany(
                _SET_PROGRESS,
                [(entry.text, entry.task_id, entry.fencing_token) for entry in batch.progress.values()],
            )

    def _rest(self, batch: Batch) -> None:
        if batch.spans:
            self._connection.executemany(_ADD_SPANS, batch.spans)
        if batch.results:
            self._connection.executemany(
                _SET_RESULT, [(text, task_id, token) for task_id, token, text in batch.results]
            )


def _text(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else epoch_to_text(epoch_s)


def _log_rows(logs: list[LogLine]) -> list[tuple[Any, ...]]:
    return [(log.task_id, epoch_to_text(log.at), log.level, log.message, log.details, log.attempt) for log in logs]


def _start_row(entry: Settlement, revision: int) -> tuple[Any, ...]:
    return epoch_to_text(entry.at), entry.lease.task_id, entry.lease.fencing_token, revision


def _completion_row(entry: Settlement, revision: int, before: TaskStatus) -> tuple[Any, ...]:
    lease = entry.lease
    return (
        lease.task_id, lease.fencing_token, revision, _WORD[before], _text(entry.started_at), epoch_to_text(entry.at),
        entry.result,
    )  # fmt: skip


def _settle_row(entry: Settlement, revision: int, before: TaskStatus) -> tuple[Any, ...]:
    lease, error = entry.lease, entry.error
    message = f"{error.type}: {error.message}" if error else (entry.reason or None)
    return (
        entry.to.value, _text(entry.started_at), epoch_to_text(entry.at), _text(entry.run_after), message,
        0 if entry.counts else 1, lease.task_id, lease.fencing_token, revision, before.value,
    )  # fmt: skip


def _attempt_row(entry: Settlement) -> tuple[Any, ...]:
    lease, error = entry.lease, entry.error
    return (
        lease.task_id, lease.fencing_token, lease.attempt, outcome_of(entry), lease.worker_id,
        epoch_to_text(lease.claimed_at), _text(entry.started_at), epoch_to_text(entry.at),
        error.type if error else None, error.message if error else entry.reason, error.traceback if error else None,
        _text(entry.run_after),
    )  # fmt: skip
