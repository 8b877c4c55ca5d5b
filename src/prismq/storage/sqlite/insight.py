"""Figures whose cost does not depend on how many tasks there are."""

from __future__ import annotations

import sqlite3
from collections import Counter

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import Outcomes
from prismq.storage.sqlite.books import SPANS_S, Ledger
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.queries import query

_OUTCOMES = query("outcomes")
_TAIL_COUNTS = query("tail_counts")
_TAIL_SPAN = query("tail_span")
_READY_QUEUES = query("ready_queues")
_PRIORITIES_OF_QUEUE = query("ready_priorities_of_queue")
_LONGEST_WAIT = query("longest_wait")
_BAND = "CASE WHEN priority < 100 THEN 'high' WHEN priority = 100 THEN 'normal' ELSE 'low' END"
# Of each priority: retries among the first, with their low ids, must not hide who has waited longer.
_LOOK_AT = 100
_TAIL_MAX = 5_000
_TAIL_BOOKINGS_MAX = 500  # of BOOK_CHUNK rows each
_END_OF_TIME = "9999-12-31 23:59:59.999"

Depth = dict[tuple[str, str, str, str], int]


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

    def _book(self) -> None:
        """Spare the next reader the counting of a long tail, where this one may write."""
        try:
            for _ in range(_TAIL_BOOKINGS_MAX):
                with self._database.transaction() as connection:
                    now = float(connection.execute("SELECT strftime('%s', 'now')").fetchone()[0])
                    ledger = Ledger(connection, now)
                    ledger.close()
                    booked, newest = connection.execute(_TAIL_SPAN).fetchone()
                if booked >= newest:
                    return
        except QueueDatabaseError:  # read-only, full or busy: it is counted below, which takes longer
            return

    @staticmethod
    def _depth(connection: sqlite3.Connection) -> Depth:
        counts: Counter[tuple[str, str, str, str]] = Counter()
        nested = connection.in_transaction
        if not nested:
            connection.execute("BEGIN")  # one moment for the books and the rows above them
        try:
            for queue, type_, status, band, tasks in connection.execute("SELECT * FROM queue_depth"):
                counts[queue, type_, status, band] += tasks
            booked, newest = connection.execute(_TAIL_SPAN).fetchone()
            for queue, type_, status, band, _, tasks, _ in connection.execute(
                _TAIL_COUNTS, (booked, newest, _END_OF_TIME)
            ):
                counts[queue, type_, status, band] += tasks
        finally:
            if not nested:
                connection.execute("COMMIT")
        return {key: tasks for key, tasks in counts.items() if tasks}

    def recount(self) -> Depth:
        """See Insight.recount."""
        sql = f"SELECT queue, type, status, {_BAND}, count(*) FROM task_queue GROUP BY 1, 2, 3, 4"
        return {tuple(row[:4]): row[4] for row in self._database.execute(sql).fetchall()}

    def outcomes(self, since: float, until: float) -> list[Outcomes]:
        """See Insight.outcomes."""
        found = []
        for span_s in SPANS_S:
            # The slot that `since` falls into belongs to the window, whatever its length.
            first = epoch_to_text(since - since % span_s)[:19]
            found += self._database.execute(_OUTCOMES, (span_s, first, epoch_to_text(until))).fetchall()
        return [Outcomes(*row) for row in found]

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
