"""What a worker process asks for: write the journal and claim more, in one transaction of two exchanges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg

from prismq.domain.errors import LeaseLost, QueueBusyError, QueueDatabaseError
from prismq.domain.lease import Lease, LogLine, Settlement
from prismq.domain.limits import PROMOTE_CHUNK
from prismq.domain.status import TaskStatus
from prismq.domain.times import from_epoch
from prismq.storage.contract import Batch, ClaimRequest, Exchanged, Progress, RenewedLease
from prismq.storage.postgres.arrays import arrays
from prismq.storage.postgres.books import Ledger, Statements
from prismq.storage.postgres.claims import Look, Usual, claim_as, leases_of, pick, take_probes, with_locked_probes
from prismq.storage.postgres.claims import claim as take
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.guests import Guest
from prismq.storage.postgres.queries import query
from prismq.storage.settling import Held, expected_revision, is_remembered, judged, outcome_of

_START = query("start")
_COMPLETE = query("complete")
_SETTLE = query("settle")
_HELD_STATE = query("held_state")
_ADD_ATTEMPTS = query("add_attempts")
_ADD_LOGS = query("add_logs")
_ADD_LOGS_IF_TASK = query("add_logs_if_task")
_SET_PROGRESS = query("set_progress")
_ADD_SPANS = query("add_spans")
_SET_RESULTS = query("set_results")
_AWAIT_RESULT = query("await_result")
_BEGIN_EXCHANGE = query("begin_exchange")
_POLL = query("poll")
_NEXT_DUE = query("next_due")
_PROMOTE = query("promote")
_RENEW = query("renew")
_CANCEL_REQUESTS = query("cancel_requests")

_WORD = {status: status.value for status in TaskStatus}  # Enum's own `value` is a call
_TRIES = 3
_LIVELY_S = 1.0  # so soon after a claim there is probably more: no look first, which would cost a round trip


class _Mismatch(Exception):
    """A row is not as its holder left it: the batch is written again, row by row and with a look first."""


class PostgresWork:
    """The WorkStore protocol on PostgreSQL."""

    is_remote = True

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._claimed_at = float("-inf")  # by the clock of `now`
        self._usual: Usual | None = None

    # -- the exchange

    def exchange(self, batch: Batch, claim: ClaimRequest | None, now: float) -> Exchanged:
        """See WorkStore.exchange."""
        if claim is not None and claim.limit <= 0:
            claim = None
        if not batch and (claim is None or now - self._claimed_at > _LIVELY_S):
            due = math.inf if claim is None else self._look(now)
            if due is not None:
                return Exchanged(frozenset(), [], due)
        usual = self._usual
        if not batch and claim is not None and usual is not None and usual.holds_for(claim):
            leases = self._claim_as(usual, claim, now)
            if leases:
                return Exchanged(frozenset(), leases)
        careful = False
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                return self._exchange(batch, claim, now, careful=careful)
            except (_Mismatch, psycopg.IntegrityError):
                careful = True
            except QueueBusyError as error:
                # Of two who wait for each other the server chose this one: nothing was written.
                if last or not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                    raise
        return self._exchange(batch, claim, now, careful=True)

    def _claim_as(self, usual: Usual, claim: ClaimRequest, now: float) -> list[Lease]:
        """One exchange with the server instead of two, for the first task of an idle worker."""
        skew = self._database.skew_s()
        at = now + skew
        with self._database.transaction(pipeline=True) as connection:
            connection.execute(_BEGIN_EXCHANGE)
            connection.execute(_PROMOTE, {"now": from_epoch(at), "limit": PROMOTE_CHUNK})
            claimed = claim_as(usual, connection, claim, from_epoch(at), from_epoch(at + claim.lease_s))
        leases = leases_of(claimed.fetchall(), claim, now, skew)
        if leases:
            self._claimed_at = now
        return leases

    def _look(self, now: float) -> float | None:
        """When there will be something to do, if there is nothing now; an idle worker costs one statement a poll."""
        with self._database.reading() as connection:
            [(ready, moment)] = connection.execute(_POLL).fetchall()
        due = math.inf if moment is None else self._database.back(moment)
        return None if ready or due <= now else due

    def _exchange(self, batch: Batch, claim: ClaimRequest | None, now: float, *, careful: bool) -> Exchanged:
        skew = self._database.skew_s()
        at = now + skew
        rows = None if careful else _Rows(batch, skew)
        lost: frozenset[tuple[int, int]] = frozenset()
        claimed: Any = None
        with self._database.transaction(keep_integrity_errors=not careful, pipeline=True) as connection:
            settings = connection.execute(_BEGIN_EXCHANGE)
            ledger = Ledger(connection, at)
            writer = _Writer(connection, ledger, skew)
            sent: list[tuple[Any, int]] = []
            if rows is None:
                lost = writer.settle_carefully(batch)
            else:
                sent = writer.settle(batch, rows)
            look = None
            if claim is not None:
                connection.execute(_PROMOTE, {"now": from_epoch(at), "limit": PROMOTE_CHUNK})
                look = Look(connection, claim, settings)
            lanes = []
            if look is not None:
                lanes = look.lanes()
                self._usual = look.usual(self._usual)
            if sent:
                with self._database.pipeline(connection):  # to enter again is to wait for all that was sent
                    if any(cursor.rowcount != expected for cursor, expected in sent):
                        raise _Mismatch
            if claim is not None and look is not None and lanes:
                lanes = with_locked_probes(connection, lanes)
                wanted = pick(connection, claim, lanes, look.room(connection))
                if wanted is not None:
                    until = from_epoch(at + claim.lease_s)
                    claimed = take(connection, claim, wanted, from_epoch(at), until)
                    take_probes(connection, claim, wanted, from_epoch(at), until)
            if rows is not None:
                writer.record(batch, rows)
            ledger.close()
        leases = [] if claim is None or claimed is None else leases_of(claimed.fetchall(), claim, now, skew)
        if leases:
            self._claimed_at = now
        return Exchanged(lost, leases)

    # -- leases

    def renew(
        self, worker_ids: Sequence[str], lease_s: float, now: float, *, only: Sequence[int] | None = None
    ) -> list[RenewedLease]:
        """See WorkStore.renew."""
        if not worker_ids:
            return []
        until = self._database.at(now + lease_s)
        tasks = None if only is None else list(only)
        rows = self._all(_RENEW, {"until": until, "workers": list(worker_ids), "only": tasks})
        return [RenewedLease(task_id, token, asked) for task_id, token, asked in rows]

    def cancel_requests(self, worker_id: str) -> list[tuple[int, int]]:
        """See WorkStore.cancel_requests."""
        return [(task_id, token) for task_id, token in self._all(_CANCEL_REQUESTS, (worker_id,))]

    def next_due(self) -> float | None:
        """See WorkStore.next_due."""
        with self._database.reading() as connection:
            return self.ask_next_due(connection)()

    def ask_next_due(self, connection: Connection) -> Callable[[], float | None]:
        """Sent; what it returns waits for the answer."""
        cursor = connection.execute(_NEXT_DUE)

        def answer() -> float | None:
            [(moment,)] = cursor.fetchall()
            return None if moment is None else self._database.back(moment)

        return answer

    def complete_within(self, connection: Any, settlement: Settlement) -> None:
        """See WorkStore.complete_within."""
        held = settlement.lease
        skew = self._database.skew_s()
        # A savepoint: a caller that catches LeaseLost and commits must not commit half of the books.
        with Guest(connection, self._database).savepoint() as guest:
            ledger = Ledger(guest, settlement.at + skew)
            if _Writer(guest, ledger, skew).settle_carefully(Batch(settlements=[settlement])):
                raise LeaseLost(held.task_id, held.attempt, held.type)
            ledger.close()
            until = settlement.at + skew + held.lease_until - held.claimed_at
            guest.execute(_AWAIT_RESULT, (until, held.task_id, held.fencing_token))

    def own_transaction(self) -> AbstractContextManager[Connection]:
        """See WorkStore.own_transaction."""
        if self._database.in_transaction:
            # An outer one could still be rolled back, and the task's completion with it, when nobody knows any more.
            raise QueueDatabaseError(
                "task.transaction() was called inside q.transaction(), and must be the outermost: enqueue inside it"
            )
        return self._database.transaction()

    def _all(self, sql: Any, params: Any = None) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            return connection.execute(sql, params).fetchall()


class _Rows:
    """A batch as the parameters of statements, on the supposition that every row is as its holder left it."""

    def __init__(self, batch: Batch, skew: float) -> None:
        starts, completions, others, attempts = [], [], [], []
        for entry in batch.settlements:
            if entry.to is TaskStatus.PROCESSING:
                starts.append(_start_row(entry, entry.lease.revision, skew))
            elif entry.to is TaskStatus.COMPLETED:
                completions.append(_completion_row(entry, expected_revision(entry), entry.was, skew))
            else:
                others.append(_settle_row(entry, expected_revision(entry), entry.was, skew))
            if is_remembered(entry):
                attempts.append(_attempt_row(entry, skew))
        self.starts, self.completions, self.others, self.attempts = starts, completions, others, attempts
        self.logs = _log_rows(batch.logs, skew)


class _Writer:
    """Writes one batch inside one transaction."""

    def __init__(self, connection: Statements, ledger: Ledger, skew: float) -> None:
        self._connection = connection
        self._ledger = ledger
        self._skew = skew

    def settle(self, batch: Batch, rows: _Rows) -> list[tuple[Any, int]]:
        """The usual way: every row is as its holder left it, so a few statements write them all.

        The cursors, and how many rows each must have changed.
        """
        self._progress(batch.progress)
        return [
            (self._many(sql, given), len(given))
            for sql, given in ((_START, rows.starts), (_COMPLETE, rows.completions), (_SETTLE, rows.others))
            if given
        ]

    def record(self, batch: Batch, rows: _Rows) -> None:
        """What goes with it, once it is known that they did."""
        self._ledger.settled_all(batch.settlements)
        self._many(_ADD_ATTEMPTS, rows.attempts)
        self._many(_ADD_LOGS, rows.logs)
        self._rest(batch)

    def settle_carefully(self, batch: Batch) -> frozenset[tuple[int, int]]:
        """Row by row, each looked at first: some lease is lost, or somebody changed a row by hand."""
        lost: set[tuple[int, int]] = set()
        gone: set[tuple[int, int | None]] = set()  # the same as (task, attempt), which is what log lines name
        self._progress(batch.progress)
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
        self._many(
            _ADD_LOGS_IF_TASK,
            _log_rows([line for line in batch.logs if (line.task_id, line.attempt) not in gone], self._skew),
        )
        self._rest(batch)
        return frozenset(lost)

    def _write_one(self, entry: Settlement, revision: int, before: TaskStatus) -> None:
        if entry.to is TaskStatus.PROCESSING:
            self._many(_START, [_start_row(entry, revision, self._skew)])
        elif entry.to is TaskStatus.COMPLETED:
            self._many(_COMPLETE, [_completion_row(entry, revision, before, self._skew)])
        else:
            self._many(_SETTLE, [_settle_row(entry, revision, before, self._skew)])
        if is_remembered(entry):
            self._many(_ADD_ATTEMPTS, [_attempt_row(entry, self._skew)])

    def _progress(self, progress: dict[int, Progress]) -> None:
        # Before the ends: a short task's last word comes with its end, and is written only while the lease is held.
        self._many(_SET_PROGRESS, [(entry.text, entry.task_id, entry.fencing_token) for entry in progress.values()])

    def _rest(self, batch: Batch) -> None:
        self._many(_SET_RESULTS, [(text, task_id, token) for task_id, token, text in batch.results])
        # One statement cannot write a row twice; of several the last counts.
        self._many(_ADD_SPANS, list({(spans.task_id, spans.fencing_token): spans for spans in batch.spans}.values()))

    def _many(self, sql: Any, rows: Sequence[tuple[Any, ...]]) -> Any:
        """One statement for all of `rows`, column by column."""
        if not rows:
            return None
        return self._connection.execute(sql, arrays(rows))


def _at(epoch_s: float | None, skew: float) -> float | None:
    return None if epoch_s is None else epoch_s + skew


def _log_rows(logs: list[LogLine], skew: float) -> list[tuple[Any, ...]]:
    return [(log.task_id, log.at + skew, log.level, log.message, log.details, log.attempt) for log in logs]


def _start_row(entry: Settlement, revision: int, skew: float) -> tuple[Any, ...]:
    return entry.at + skew, entry.lease.task_id, entry.lease.fencing_token, revision


def _completion_row(entry: Settlement, revision: int, before: TaskStatus, skew: float) -> tuple[Any, ...]:
    lease = entry.lease
    return (
        _at(entry.started_at, skew), entry.at + skew, entry.result, lease.task_id, lease.fencing_token, revision,
        _WORD[before],
    )  # fmt: skip


def _settle_row(entry: Settlement, revision: int, before: TaskStatus, skew: float) -> tuple[Any, ...]:
    lease, error = entry.lease, entry.error
    message = f"{error.type}: {error.message}" if error else (entry.reason or None)
    return (
        _WORD[entry.to], _at(entry.started_at, skew), entry.at + skew, _at(entry.run_after, skew), message,
        0 if entry.counts else 1, lease.task_id, lease.fencing_token, revision, _WORD[before],
    )  # fmt: skip


def _attempt_row(entry: Settlement, skew: float) -> tuple[Any, ...]:
    lease, error = entry.lease, entry.error
    return (
        lease.task_id, lease.fencing_token, lease.attempt, outcome_of(entry), lease.worker_id,
        lease.claimed_at + skew, _at(entry.started_at, skew), entry.at + skew,
        error.type if error else None, error.message if error else entry.reason, error.traceback if error else None,
        _at(entry.run_after, skew),
    )  # fmt: skip
