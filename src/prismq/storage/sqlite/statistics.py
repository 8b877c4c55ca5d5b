"""What becomes of the statistics that the books have by the minute: hours, and totals that never become less.

Nobody who changes a task pays for it: the newest entries of `task_stats` are taken in once a minute, and until then
added by who reads.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prismq.domain.sketch import Sketch
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import Outcomes
from prismq.storage.entries import HOUR_S, MINUTE_S, SPANS_S
from prismq.storage.sqlite.queries import query

# Entries that are taken in by one transaction: to merge the bins of one takes some 0.2 ms, and writers wait.
TAKEN_CHUNK = 100

_TAKE = query("take_untotalled")
_ADD_TOTALS = query("add_totals")
_ADD_STATS = query("add_stats")
_ADD_HOURS = query("add_hours")
_TOTALS = query("totals")
_UNTOTALLED = query("untotalled")
_OUTCOMES, _HOURS = query("outcomes"), query("hours")
_OUTCOMES_SUMMED, _HOURS_SUMMED = query("outcomes_summed"), query("hours_summed")

_NEWEST_SLOT = "SELECT max(slot_utc) FROM task_stats WHERE span_s = ?"

_MICRO = 1e6
_FIRST, _LAST = "", "~"  # before and after every slot
_YEAR_10000 = 253_402_300_800


def take_in(connection: sqlite3.Connection) -> int:
    """Add the next TAKEN_CHUNK entries to their hours and to the totals, inside the caller's transaction; how many.

    What is added to a minute later is a new entry beside the one that was taken in, until it is itself.
    """
    rows = sorted(connection.execute(_TAKE, (TAKEN_CHUNK,)).fetchall(), key=lambda row: row["rowid"])
    if not rows:
        return 0
    connection.executemany(_ADD_STATS, [(*tuple(row)[1:], 1) for row in rows])
    keys: dict[tuple[str, str, str], list[Outcomes]] = {}
    hours: dict[tuple[str, str, str, str], list[Outcomes]] = {}
    for row in rows:
        one = Outcomes(*tuple(row)[3:])
        keys.setdefault(one[:3], []).append(one)
        hours.setdefault((f"{row['slot_utc'][:13]}:00:00", *one[:3]), []).append(one)
    connection.executemany(_ADD_TOTALS, [(*key, *_sums(some, _micros)) for key, some in keys.items()])
    connection.executemany(_ADD_HOURS, [(*key, *_sums(some, float)) for key, some in hours.items()])
    return len(rows)


def drop_hours(connection: sqlite3.Connection, before: float) -> int:
    """Forget hours that begin before this time, inside the caller's transaction; how many rows went."""
    slot = slot_of(before, HOUR_S)
    gone = connection.execute("DELETE FROM task_hours WHERE slot_utc < ?", (slot,)).rowcount
    if gone:
        connection.execute("UPDATE books SET hours_from = max(hours_from, ?)", (slot,))
    return gone


def totals(connection: sqlite3.Connection) -> Iterator[Outcomes]:
    """The totals, then what they do not have yet. The caller sees to it that both are of one moment."""
    yield from map(Outcomes._make, connection.execute(_TOTALS))
    for row in connection.execute(_UNTOTALLED, (_FIRST, _LAST, *_ALL)):
        one = Outcomes(*row)
        # To the microsecond, as it will be taken in: then the sum is the same before and after.
        yield one._replace(wait_s=_micros(one.wait_s) / _MICRO, run_s=_micros(one.run_s) / _MICRO)


class Wanted(NamedTuple):
    """Which outcomes and which queues, as JSON (None: all of them), and whether the bins of waits."""

    outcomes: str | None
    queues: str | None
    waits: bool

    @property
    def names(self) -> tuple[str | None, str | None]:
        """For statements that read no bins."""
        return self.outcomes, self.queues

    @classmethod
    def of(cls, outcomes: tuple[str, ...] | None, queues: tuple[str, ...] | None, waits: bool) -> Wanted:
        """For the statements that read statistics."""
        wanted, among = (None if names is None else json.dumps(names) for names in (outcomes, queues))
        return cls(wanted, among, waits)


_ALL = Wanted(None, None, True)


def window(
    connection: sqlite3.Connection, since: float, until: float, wanted: Wanted, bins: bool
) -> Iterator[Outcomes]:
    """What is booked between the two times; the slots that they fall into belong to it. The caller sees to it that it
    is of one moment."""
    until = min(until, _YEAR_10000 - HOUR_S)
    end = until - until % MINUTE_S + MINUTE_S
    newest = [connection.execute(_NEWEST_SLOT, (span_s,)).fetchone()[0] for span_s in SPANS_S if span_s < HOUR_S]
    if all(slot is None or slot < slot_of(end) for slot in newest):
        end += -end % HOUR_S  # nothing came later, so the last hour counts as a whole
    first, last = since + -since % HOUR_S, end - end % HOUR_S  # the hours that lie within it as a whole
    row = connection.execute("SELECT hours_from FROM books").fetchone()
    if row is not None and row[0]:
        first = max(first, text_to_epoch(row[0]))
    if first >= last:
        yield from _slots(connection, since, end, wanted, bins)
        return
    yield from _slots(connection, since, first, wanted, bins)
    hours = (slot_of(first), slot_of(last))
    if bins:
        yield from map(Outcomes._make, connection.execute(_HOURS, (*hours, *wanted)))
    else:
        yield from map(Outcomes._make, connection.execute(_HOURS_SUMMED, (*hours, *wanted.names)))
    yield from map(Outcomes._make, connection.execute(_UNTOTALLED, (*hours, *wanted)))
    yield from _slots(connection, last, end, wanted, bins)


def slot_of(epoch_s: float, span_s: int = MINUTE_S) -> str:
    """The slot of this length that a time falls into, as the table's text."""
    return epoch_to_text(epoch_s - epoch_s % span_s)[:19]


def _slots(connection: sqlite3.Connection, since: float, end: float, wanted: Wanted, bins: bool) -> Iterator[Outcomes]:
    sql, which = (_OUTCOMES, wanted) if bins else (_OUTCOMES_SUMMED, wanted.names)
    for span_s in SPANS_S:
        # The slot that it falls into belongs to the window, whatever its length.
        found = connection.execute(sql, (span_s, slot_of(since, span_s), slot_of(end), *which))
        yield from map(Outcomes._make, found)


def _micros(seconds: float) -> int:
    return round(seconds * _MICRO)


def _sums(entries: list[Outcomes], in_unit: Callable[[float], float]) -> tuple[float | str | None, ...]:
    wait, run = (Sketch.merged(texts) for texts in ((e.wait_bins for e in entries), (e.run_bins for e in entries)))
    return (
        sum(e.tasks for e in entries),
        sum(e.attempts for e in entries),
        sum(e.retried for e in entries),
        sum(in_unit(e.wait_s) for e in entries),
        sum(in_unit(e.run_s) for e in entries),
        wait.to_json() if wait.bins else None,
        run.to_json() if run.bins else None,
    )
