"""Looking at tasks and acting on them: one by id, or all that match, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from prismq.domain.limits import FAILURES_LOOKED_AT, FILTER_CHUNK
from prismq.domain.task import Task, TaskAttempt, TaskFilter, TaskLog
from prismq.storage.contract import Cancelled
from prismq.storage.postgres.books import Ledger
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.filters import NEWEST_FIRST, order, where
from prismq.storage.postgres.planning import plan_by_index, planned_by_index
from prismq.storage.postgres.queries import query
from prismq.storage.postgres.rows import ATTEMPTS, LOGS, TASKS

# Each state by itself, so that each may be looked for in its own partial index.
_WAITING = "(status = 'scheduled' OR status = 'queued')"
_LEASED = "status IN ('claimed', 'processing')"
_ENDED = "(status IN ('completed', 'cancelled') OR status IN ('failed', 'dead_letter'))"

# Ids looked up at once: each look may have to sort all that is left.
_IDS_AT_ONCE = 100 * FILTER_CHUNK
# Where the newest tasks of a state are looked for before all of that state are sorted.
_NEWEST = 10_000

_NOTE_ACTS = query("note_acts")
_NEWEST_FAILURES = query("newest_failures")
_NEWEST_QUEUED = query("newest_queued")
_LAST_ID = 2**63 - 1
# Statistics of a day when every task was in this state would have it read.
_NO_WHOLE_TABLE = "SET LOCAL enable_seqscan = off"


class _Act(NamedTuple):
    """Something done to each task that matches and is in one of the states of `status`."""

    status: str
    sql: str
    message: Callable[[str, int], str]  # of the status and the priority before
    to: str | None = None  # the status afterwards; None: as before
    priority: int | None = None  # likewise


_CANCEL = _Act(_WAITING, query("cancel"), lambda status, _: f"{status} → cancelled", "cancelled")
_ASK_TO_STOP = _Act(_LEASED, query("ask_to_stop"), lambda status, _: f"{status}: asked to cancel")
_REQUEUE = _Act(_ENDED, query("requeue"), lambda status, _: f"{status} → queued: retried by an operator", "queued")
_MAKE_READY = _Act("status = 'scheduled'", query("make_ready"), lambda _, __: "scheduled → queued: run now", "queued")


class PostgresTaskAdmin:
    """The TaskAdmin protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    # -- looking

    def get(self, task_id: int) -> Task | None:
        """See TaskAdmin.get."""
        with self._database.reading() as connection:
            rows = TASKS.fetch(connection, "WHERE id = %s", (task_id,))
        return rows[0] if rows else None

    def find(
        self, which: TaskFilter, *, limit: int = 100, before_id: int | None = None, from_id: int | None = None
    ) -> list[Task]:
        """See TaskAdmin.find."""
        condition, params = self._where(which)
        if before_id is not None:
            condition += " AND id < %s"
            params.append(before_id)
        if from_id is not None:
            condition += " AND id >= %s"
            params.append(from_id)
        by = order(which)
        if by == NEWEST_FIRST or from_id is not None:
            by = NEWEST_FIRST
            with self._database.reading() as connection:
                return TASKS.fetch(connection, f"WHERE {condition} ORDER BY {by} LIMIT %s", [*params, limit])
        with self._database.transaction(looks=True) as connection:
            end = "coalesce(%s::bigint, (SELECT max(id) FROM task_queue))"
            rest = f"WHERE {condition} AND id > {end} - {_NEWEST} ORDER BY {NEWEST_FIRST} LIMIT %s"
            found = TASKS.fetch(connection, rest, [*params, before_id, limit])
            if len(found) < limit and which == TaskFilter(statuses=("queued",)):
                plan_by_index(connection)
                before = _LAST_ID if before_id is None else before_id
                rows = connection.execute(_NEWEST_QUEUED, {"before": before, "limit": limit}).fetchall()
                found = TASKS.fetch(connection, f"WHERE id = ANY (%s) ORDER BY {NEWEST_FIRST}", ([i for (i,) in rows],))
            elif len(found) < limit:
                connection.execute(_NO_WHOLE_TABLE)
                found = TASKS.fetch(connection, f"WHERE {condition} ORDER BY {by} LIMIT %s", [*params, limit])
            return found

    def newest_failures(self, *, queue: str | None = None, limit: int = 100) -> list[Task]:
        """See TaskAdmin.newest_failures."""
        look = {"look_at": limit if queue is None else FAILURES_LOOKED_AT, "queue": queue, "limit": limit}
        with planned_by_index(self._database) as connection:
            ids = [task_id for (task_id,) in connection.execute(_NEWEST_FAILURES, look).fetchall()]
            return TASKS.fetch(connection, "WHERE id = ANY (%s) ORDER BY finished_at_utc DESC, id DESC", (ids,))

    def count(self, which: TaskFilter, *, at_most: int = 100_000) -> int:
        """See TaskAdmin.count."""
        condition, params = self._where(which)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM task_queue WHERE {condition} LIMIT %s) AS found"
        return int(self._all(sql, [*params, at_most])[0][0])

    def attempts(self, task_id: int) -> list[TaskAttempt]:
        """See TaskAdmin.attempts."""
        with self._database.reading() as connection:
            return ATTEMPTS.fetch(connection, "WHERE task_id = %s ORDER BY fencing_token", (task_id,))

    def logs(self, task_id: int, *, limit: int = 1000, after_id: int = 0) -> list[TaskLog]:
        """See TaskAdmin.logs."""
        rest = "WHERE task_id = %s AND log_id > %s ORDER BY log_id LIMIT %s"
        with self._database.reading() as connection:
            return LOGS.fetch(connection, rest, (task_id, after_id, limit))

    def _where(self, which: TaskFilter) -> tuple[str, list[Any]]:
        return where(which, self._database.at)

    def _all(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            return connection.execute(sql, params).fetchall()

    # -- acting

    def cancel(self, which: TaskFilter, now: float) -> Cancelled:
        """See TaskAdmin.cancel."""
        waiting = self._each(which, _CANCEL, now)
        return Cancelled(waiting, self._each(which, _ASK_TO_STOP, now))

    def retry(self, which: TaskFilter, now: float) -> int:
        """See TaskAdmin.retry."""
        return self._each(which, _REQUEUE, now)

    def run_now(self, which: TaskFilter, now: float) -> int:
        """See TaskAdmin.run_now."""
        return self._each(which, _MAKE_READY, now)

    def reprioritise(self, which: TaskFilter, priority: int, now: float) -> int:
        """See TaskAdmin.reprioritise."""
        act = _Act(
            f"{_WAITING} AND priority <> {int(priority)}",
            query("reprioritise"),
            lambda _, before: f"priority {before} → {priority}",
            priority=priority,
        )
        return self._each(which, act, now)

    def delete(self, which: TaskFilter) -> int:
        """See TaskAdmin.delete."""
        condition, params = self._where(which)
        status = f"NOT {_LEASED}"

        def delete(ids: list[int], lock: str) -> set[int]:
            with self._database.transaction() as connection:
                rows = connection.execute(
                    "DELETE FROM task_queue WHERE id = ANY (ARRAY (SELECT id FROM task_queue"
                    f" WHERE id = ANY (%s::bigint[]) AND {condition} AND {status} ORDER BY id FOR UPDATE{lock}))"
                    " RETURNING id",
                    [ids, *params],
                ).fetchall()
            return {task_id for (task_id,) in rows}

        return self._in_pieces(which, status, delete)

    def _each(self, which: TaskFilter, act: _Act, now: float) -> int:
        """Do something to each task that matches, FILTER_CHUNK a transaction; how many there were."""
        condition, params = self._where(which)
        at = self._database.at(now)

        def change(ids: list[int], lock: str) -> set[int]:
            with self._database.transaction() as connection:
                ledger = Ledger(connection, now + self._database.skew_s())
                rows = connection.execute(
                    "SELECT id, queue, type, status, priority, attempts FROM task_queue"
                    f" WHERE id = ANY (%s::bigint[]) AND {condition} AND {act.status}"
                    f" ORDER BY id FOR NO KEY UPDATE{lock}",
                    [ids, *params],
                ).fetchall()
                if not rows:
                    return set()
                found = [row[0] for row in rows]
                connection.execute(act.sql, {"ids": found, "now": at, "priority": act.priority})
                messages = [act.message(status, priority) for _, _, _, status, priority, _ in rows]
                connection.execute(_NOTE_ACTS, {"ids": found, "now": at, "messages": messages})
                for task_id, queue, type_, status, priority, attempts in rows:
                    to = act.to or status
                    new_priority = priority if act.priority is None else act.priority
                    ledger.change(task_id, queue, type_, (status, priority), (to, new_priority))
                    if to == "cancelled":
                        ledger.ended(queue, type_, "cancelled", attempts=attempts)
                ledger.close()
            return set(found)

        return self._in_pieces(which, act.status, change)

    def _in_pieces(self, which: TaskFilter, status: str, act: Callable[[list[int], str], set[int]]) -> int:
        """Act on what matches, FILTER_CHUNK at a time; how many tasks `act` says it changed.

        Rows that others hold just now are passed over at first and then waited for one by one, holding nothing:
        whoever waits for one row while he holds others can meet somebody who does the same the other way round.
        """
        done = 0
        for ids in self._pieces(which, status):
            changed = act(ids, " SKIP LOCKED")
            done += len(changed)
            left = sorted(set(ids) - changed)
            if left:
                for task_id in self._matching(which, status, left):
                    done += len(act([task_id], ""))
        return done

    def _pieces(self, which: TaskFilter, status: str) -> Iterator[list[int]]:
        """The ids of what matches, FILTER_CHUNK at a time. Looked for without a lock: who acts on them looks again."""
        condition, params = self._where(which)
        sql = f"SELECT id FROM task_queue WHERE {condition} AND {status} AND id > %s ORDER BY id LIMIT %s"
        last_id = 0
        while True:
            ids = [task_id for (task_id,) in self._all(sql, [*params, last_id, _IDS_AT_ONCE])]
            for start in range(0, len(ids), FILTER_CHUNK):
                yield ids[start : start + FILTER_CHUNK]
            if len(ids) < _IDS_AT_ONCE:
                return
            last_id = ids[-1]

    def _matching(self, which: TaskFilter, status: str, ids: list[int]) -> list[int]:
        condition, params = self._where(which)
        sql = f"SELECT id FROM task_queue WHERE id = ANY (%s::bigint[]) AND {condition} AND {status} ORDER BY id"
        return [task_id for (task_id,) in self._all(sql, [ids, *params])]
