"""The books: counts and statistics, kept by whoever changes a task, in the same transaction.

They cover tasks with id <= booked_id. A Ledger is one transaction's entries, summed and written once.
"""

from __future__ import annotations

import sqlite3

from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.entries import MINUTE_S, Entries
from prismq.storage.sqlite.queries import query

# `now` was read before the writer's lock was had; a row enqueued in between is ready all the same. A queued row
# with a time of its own, which only a hand can write, may so begin a second early.
READY_SLACK_S = 1.0

_TAIL_SPAN = query("tail_span")
_TAIL_END = query("tail_end")
_TAIL_COUNTS = query("tail_counts")
_MEND_TAIL = query("mend_tail")
_SET_BOOKED = query("set_booked")
_ADD_DEPTH = query("add_depth")
_ADD_STATS = query("add_stats")


def slot_of(now: float) -> str:
    """The minute that `now` falls into, as the table's text."""
    return epoch_to_text(now - now % MINUTE_S)[:19]


def is_slot(text: str) -> bool:
    """Whether this is the text of a minute: the time of creation may have been written by hand."""
    try:
        return epoch_to_text(text_to_epoch(text))[:19] == text
    except ValueError:
        return False


class Ledger(Entries):
    """What one write transaction changes in the books. Open it first: it books the new rows."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        super().__init__()
        self._connection = connection
        self._slot = slot_of(now)
        self.booked_rows = 0  # by this ledger
        self.booked_id = self._book_tail(epoch_to_text(now + READY_SLACK_S))

    def _book_tail(self, now_text: str) -> int:
        connection = self._connection
        booked, newest = connection.execute(_TAIL_SPAN).fetchone()
        if newest <= booked:
            return int(booked)
        # A bounded number a transaction; rows above are counted later, with the status they have then.
        until = newest
        if newest - booked > BOOK_CHUNK:  # ids given by hand may leave great gaps: rows are counted, not ids
            until = connection.execute(_TAIL_END, (booked, BOOK_CHUNK)).fetchone()[0] or newest
        rows = connection.execute(_TAIL_COUNTS, (booked, until, now_text)).fetchall()
        if any(row[6] for row in rows):
            connection.execute(_MEND_TAIL, (booked, until, now_text))
            rows = connection.execute(_TAIL_COUNTS, (booked, until, now_text)).fetchall()
        connection.execute(_SET_BOOKED, (until,))
        for queue, type_, status, band, slot, count, _ in rows:
            self._depth[queue, type_, status, band] += count
            self.booked_rows += count
            slot = slot if is_slot(slot) else self._slot
            connection.execute(_ADD_STATS, (slot, MINUTE_S, queue, type_, "enqueued", count, 0, 0, 0, 0, None, None, 0))
        return int(until)

    def close(self) -> None:
        """Write what was summed; the last thing before the commit."""
        changed = self._depth_rows()
        if changed:
            self._connection.executemany(_ADD_DEPTH, changed)
        if self._ended:
            slot = self._slot
            self._connection.executemany(_ADD_STATS, [(slot, MINUTE_S, *row, 0) for row in self._stats_rows()])
