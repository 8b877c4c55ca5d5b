"""Figures whose cost does not depend on how many tasks there are."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import (
    ClaimRequest,
    Connections,
    Depth,
    HeldKey,
    HeldTask,
    Outcomes,
    QueryFigures,
    ReadyRoute,
    Space,
)
from prismq.storage.measuring import Meter
from prismq.storage.sqlite.books import Ledger
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.ends import book_ends, ends_wait, unbooked
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.outlook import ahead, ready_routes
from prismq.storage.sqlite.queries import query
from prismq.storage.sqlite.statistics import Wanted, slot_of, take_in, totals, window

_HELD_TASKS = query("held_tasks")
_CRASHED_LATELY = query("crashed_lately")
_TAIL_COUNTS = query("tail_counts")
_TAIL_SPAN = query("tail_span")
_READY_QUEUES = query("ready_queues")
_PRIORITIES_OF_QUEUE = query("ready_priorities_of_queue")
_LONGEST_WAIT = query("longest_wait")
_OLDEST_QUEUED = query("oldest_queued")
_BAND = "CASE WHEN priority < 100 THEN 'high' WHEN priority = 100 THEN 'normal' ELSE 'low' END"
# Of each priority: retries among the first, with their low ids, must not hide who has waited longer.
_LOOK_AT = 100
_TAIL_MAX = 5_000
_TAIL_BOOKINGS_MAX = 500  # of BOOK_CHUNK rows each
# Entries of the statistics that a reader adds to the totals; where there are more it takes them in, if it may write.
_UNTOTALLED_MAX = 500
_UNTOTALLED_MORE_THAN = "SELECT 1 FROM task_stats WHERE totalled = 0 LIMIT 1 OFFSET ?"
_LOCK_WAIT_S = 0.005
_END_OF_TIME = "9999-12-31 23:59:59.999"


@contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """What the block reads belongs together: the books, and what they have not yet."""
    nested = connection.in_transaction
    if not nested:
        connection.execute("BEGIN")
    try:
        yield
    finally:
        if not nested:
            connection.execute("COMMIT")


class SqliteInsight:
    """The Insight protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def depth(self) -> Depth:
        """See Insight.depth. New rows that nobody has booked yet are added up here; many of them are booked first."""
        with translated(str(self._database.db_path)):
            connection = self._database.get_connection()
            booked, newest = connection.execute(_TAIL_SPAN).fetchone()
        if newest - booked > _TAIL_MAX and not connection.in_transaction:
            self._book()
        with translated(str(self._database.db_path)):
            return self._depth(connection)

    def _book(self, at: float | None = None, wait_s: float | None = None) -> None:
        """Spare the next reader the counting of what nobody has booked, where this one may write. `at`: None for the
        database's own time."""
        try:
            for _ in range(_TAIL_BOOKINGS_MAX):
                with self._database.transaction(wait_s=wait_s) as connection:
                    now = connection.execute("SELECT strftime('%s', 'now')").fetchone()[0] if at is None else at
                    ledger = Ledger(connection, float(now))
                    ledger.close()
                    ends = book_ends(connection)
                    booked, newest = connection.execute(_TAIL_SPAN).fetchone()
                if booked >= newest and not ends:
                    return
        except QueueDatabaseError:  # read-only, full or busy: it is counted below, which takes longer
            return

    @staticmethod
    def _depth(connection: sqlite3.Connection) -> Depth:
        counts: Counter[tuple[str, str, str, str]] = Counter()
        with _one_moment(connection):
            for queue, type_, status, band, tasks in connection.execute("SELECT * FROM queue_depth"):
                counts[queue, type_, status, band] += tasks
            booked, newest = connection.execute(_TAIL_SPAN).fetchone()
            for queue, type_, status, band, _, tasks, _ in connection.execute(
                _TAIL_COUNTS, (booked, newest, _END_OF_TIME)
            ):
                counts[queue, type_, status, band] += tasks
        return {key: tasks for key, tasks in counts.items() if tasks}

    def recount(self) -> Depth:
        """See Insight.recount."""
        sql = f"SELECT queue, type, status, {_BAND}, count(*) FROM task_queue GROUP BY 1, 2, 3, 4"
        return {tuple(row[:4]): row[4] for row in self._database.execute(sql).fetchall()}

    def outcomes(
        self,
        since: float,
        until: float,
        *,
        only: tuple[str, ...] | None = None,
        queues: tuple[str, ...] | None = None,
        bins: bool = True,
        waits: bool = True,
    ) -> list[Outcomes]:
        """See Insight.outcomes. Ends by hand that nobody has booked yet are added here; many are booked first."""
        with translated(str(self._database.db_path)):
            connection = self._database.get_connection()
            many = ends_wait(connection, _TAIL_MAX)
        if many and not connection.in_transaction:
            self._book()
        with translated(str(self._database.db_path)), _one_moment(connection):
            found = list(window(connection, since, until, Wanted.of(only, queues, waits), bins))
            by_hand = unbooked(connection, slot_of(since), epoch_to_text(until))
        wanted = (one for one in by_hand if only is None or one.outcome in only)
        return found + [one for one in wanted if queues is None or one.queue in queues]

    def totals(self, now: float) -> list[Outcomes]:
        """See Insight.totals."""
        with translated(str(self._database.db_path)):
            connection = self._database.get_connection()
            booked, newest = connection.execute(_TAIL_SPAN).fetchone()
            wanting = newest > booked or ends_wait(connection)
            piled_up = connection.execute(_UNTOTALLED_MORE_THAN, (_UNTOTALLED_MAX,)).fetchone() is not None
        if (wanting or piled_up) and not connection.in_transaction:
            # Whoever has the writer's lock just now is a worker, which books as well, or is done in a moment.
            self._book(now, _LOCK_WAIT_S)
            if piled_up:
                self._take_in()
        with translated(str(self._database.db_path)), _one_moment(connection):
            return list(totals(connection))

    def _take_in(self) -> None:
        try:
            with self._database.transaction(wait_s=_LOCK_WAIT_S) as connection:
                take_in(connection)
        except QueueDatabaseError:  # read-only, full or busy: it is added up by who reads, which takes longer
            return

    def oldest_ready_s(self, now: float, queue: str | None = None) -> float | None:
        """See Insight.oldest_ready_s; `queue` restricts it to one."""
        text = epoch_to_text(now)
        queues = [row[0] for row in self._database.execute(_READY_QUEUES).fetchall()] if queue is None else [queue]
        ages = []
        for name in queues:
            for (priority,) in self._database.execute(_PRIORITIES_OF_QUEUE, (name,)).fetchall():
                ready, since = self._database.execute(_LONGEST_WAIT, (name, text, _LOOK_AT, priority)).fetchone()
                if ready:
                    ages.append(now - text_to_epoch(since) if since else 0.0)
        return max(0.0, max(ages)) if ages else None

    def oldest_queued_s(self, now: float) -> float | None:
        """See Insight.oldest_queued_s."""
        ages = []
        for (queue,) in self._database.execute(_READY_QUEUES).fetchall():
            for (priority,) in self._database.execute(_PRIORITIES_OF_QUEUE, (queue,)).fetchall():
                queued, since = self._database.execute(_OLDEST_QUEUED, (queue, priority, _LOOK_AT)).fetchone()
                if queued:
                    ages.append(now - text_to_epoch(since) if since else 0.0)
        return max(0.0, max(ages)) if ages else None

    def ready_routes(self, now: float) -> list[ReadyRoute]:
        """See Insight.ready_routes."""
        with translated(str(self._database.db_path)), self._database.lenient_text():
            return ready_routes(self._database.get_connection(), now)

    def ahead(self, task_id: int, claim: ClaimRequest, at_most: int) -> int:
        """See Insight.ahead."""
        with translated(str(self._database.db_path)), self._database.lenient_text():
            return ahead(self._database.get_connection(), task_id, claim, at_most)

    def held_tasks(self, at_most: int) -> list[HeldTask]:
        """See Insight.held_tasks."""
        return [_held(row) for row in self._database.execute(_HELD_TASKS, (at_most,)).fetchall()]

    def crashed_lately(self, since: float, at_most: int) -> list[HeldTask]:
        """See Insight.crashed_lately."""
        rows = self._database.execute(_CRASHED_LATELY, (epoch_to_text(since), at_most)).fetchall()
        return [_held(row) for row in rows]

    def held_keys(self, task_id: int) -> list[HeldKey]:
        """See Insight.held_keys."""
        rows = self._database.execute(
            "SELECT unique_key, until_utc, pending FROM unique_keys WHERE task_id = ? ORDER BY unique_key", (task_id,)
        ).fetchall()
        return [HeldKey(key, text_to_epoch(until), bool(pending)) for key, until, pending in rows]

    def connections(self) -> Connections:
        """See Insight.connections."""
        active, total = self._database.connection_counts()
        return Connections(active, total - active, total)

    def connections_max(self) -> int | None:
        """See Insight.connections_max."""
        return None

    def measure(self) -> None:
        """See Insight.measure."""
        if self._database.meter is None:
            self._database.meter = Meter()

    def queries(self) -> QueryFigures | None:
        """See Insight.queries."""
        meter = self._database.meter
        return None if meter is None else meter.figures()

    def space(self) -> Space:
        """See Insight.space."""
        path = self._database.db_path
        if not path.is_file():  # in memory, or not made yet
            return Space(0, None, None)
        used = sum(_size(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm"))
        try:
            disk = shutil.disk_usage(path.parent)
        except OSError:  # a file system that does not say
            return Space(used, None, None)
        return Space(used, disk.free, disk.total)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # no log there at present
        return 0


def _held(row: sqlite3.Row) -> HeldTask:
    task_id, queue, type_, started, crashes = row
    return HeldTask(task_id, queue, type_, None if started is None else text_to_epoch(started), crashes)
