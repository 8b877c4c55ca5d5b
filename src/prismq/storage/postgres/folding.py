"""What writers appended to the books becomes sums, and old statistics become longer slots."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from typing_extensions import LiteralString

from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.sketch import Sketch
from prismq.domain.times import from_epoch
from prismq.storage.entries import FOLDS, HOUR_S, HOURS_KEPT_S, MINUTE_S, SPANS_S, STATS_KEPT_S
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.locks import alone
from prismq.storage.postgres.queries import query
from prismq.storage.postgres.totals import add_up

_TAKE_DEPTH = query("take_depth_deltas")
_TAKE_STATS = query("take_stats_deltas")
_SUM_DEPTH = query("sum_depth")
_STATS_OF = query("stats_of")
_PUT_STATS = query("put_stats")
_HOURS_OF = query("hours_of")
_PUT_HOURS = query("put_hours")
_DROP_HOURS = query("drop_hours")
_TAKE_OLD_STATS = query("take_old_stats")
_DROP_OLD_STATS = query("drop_old_stats")

_FOLD_CHUNK = 2_000
_YEAR_10000 = 253_402_300_800.0

Key = tuple[float, str, str, str]  # slot (seconds since 1970), queue, type, outcome


class Sums:
    """Statistics that came together under one key."""

    __slots__ = ("bins", "numbers")

    def __init__(self) -> None:
        self.numbers: list[float] = [0, 0, 0, 0.0, 0.0]  # tasks, attempts, retried, wait_s, run_s
        self.bins: tuple[list[str], list[str]] = ([], [])  # wait, run

    def add(self, row: tuple[Any, ...]) -> None:
        """Five numbers and two sketches, as the tables have them."""
        self.numbers = [a + b for a, b in zip(self.numbers, row[:5], strict=True)]
        for bins, text in zip(self.bins, row[5:7], strict=True):
            if text:
                bins.append(text)

    def include(self, other: Sums) -> None:
        """Add what another has."""
        self.numbers = [a + b for a, b in zip(self.numbers, other.numbers, strict=True)]
        for mine, theirs in zip(self.bins, other.bins, strict=True):
            mine.extend(theirs)

    def row(self) -> tuple[Any, ...]:
        """The sums in the same form."""
        return (*self.numbers, *(Sketch.merged(bins).to_json() if bins else None for bins in self.bins))


def fold_deltas(database: PostgresDatabase, now: float) -> int:
    """Fold at most BOOK_CHUNK of what writers appended; how many. 0 where another process does it just now."""
    with database.transaction() as connection:
        if not alone(database, connection, "fold"):
            return 0
        return _fold_deltas(connection, now + database.skew_s())


def fold_stats(database: PostgresDatabase, now: float) -> int:
    """Merge old statistics into longer slots, and drop the oldest; how many rows went."""
    with database.transaction() as connection:
        if not alone(database, connection, "fold"):
            return 0
        at = now + database.skew_s()
        _fold_deltas(connection, at)
        return _fold_stats(connection, at)


def many_wait(connection: Connection) -> bool:
    """Whether there is more to fold than one call does, so that readers have a lot to add up."""
    tables = ("queue_depth_deltas", "task_stats_deltas")
    looks = " OR ".join(f"EXISTS (SELECT 1 FROM {table} OFFSET {BOOK_CHUNK})" for table in tables)
    row = connection.execute(f"SELECT {looks}").fetchone()
    return row is not None and bool(row[0])


def _fold_deltas(connection: Connection, now: float) -> int:
    depth: Counter[tuple[str, str, str, str]] = Counter()
    stats: dict[Key, Sums] = {}
    enqueued = []
    deltas = connection.execute(_TAKE_DEPTH, {"limit": BOOK_CHUNK}).fetchall()
    for queue, type_, status, band, tasks, slot in deltas:
        depth[queue, type_, status, band] += tasks
        if slot is not None:
            new = (tasks, 0, 0, 0.0, 0.0, None, None)
            stats.setdefault((_minute(slot, now), queue, type_, "enqueued"), Sums()).add(new)
            enqueued.append((queue, type_, "enqueued", *new))
    ended = connection.execute(_TAKE_STATS, {"limit": BOOK_CHUNK - len(deltas)}).fetchall()
    for slot, queue, type_, outcome, *row in ended:
        stats.setdefault((_minute(slot, now), queue, type_, outcome), Sums()).add(tuple(row))
    changed = [(*key, tasks) for key, tasks in depth.items() if tasks]
    if changed:
        connection.execute(_SUM_DEPTH, [list(column) for column in zip(*changed, strict=True)])
        connection.execute("DELETE FROM queue_depth WHERE tasks = 0")
    _put_hours(connection, stats)
    _put(connection, MINUTE_S, stats)
    add_up(connection, [*enqueued, *(tuple(row[1:]) for row in ended)])
    return len(deltas) + len(ended)


def _fold_stats(connection: Connection, now: float) -> int:
    gone = 0
    for span_s, older_than_s, into_s in FOLDS:
        before = now - older_than_s
        # Whole slots only: half of one would be folded twice.
        until = from_epoch(before - before % into_s)
        old = {"span_s": span_s, "before": until, "limit": _FOLD_CHUNK}
        rows = connection.execute(_TAKE_OLD_STATS, old).fetchall()
        stats: dict[Key, Sums] = {}
        for slot, queue, type_, outcome, *row in rows:
            stats.setdefault((slot - slot % into_s, queue, type_, outcome), Sums()).add(tuple(row))
        _put(connection, into_s, stats)
        gone += len(rows)
    gone += connection.execute(_DROP_OLD_STATS, (SPANS_S[-1], from_epoch(now - STATS_KEPT_S))).rowcount
    before = now - HOURS_KEPT_S
    [(hours,)] = connection.execute(_DROP_HOURS, {"before": from_epoch(before - before % HOUR_S)}).fetchall()
    return gone + int(hours)


def _put(connection: Connection, span_s: int, stats: dict[Key, Sums]) -> None:
    """Add to what task_stats has."""
    _merge(connection, _STATS_OF, _PUT_STATS, [span_s], stats)


def _put_hours(connection: Connection, stats: dict[Key, Sums]) -> None:
    """Add to what task_hours has; `stats` stay as they are."""
    hours: dict[Key, Sums] = {}
    for (slot, queue, type_, outcome), sums in stats.items():
        hours.setdefault((slot - slot % HOUR_S, queue, type_, outcome), Sums()).include(sums)
    _merge(connection, _HOURS_OF, _PUT_HOURS, [], hours)


def _merge(
    connection: Connection, there: LiteralString, put: LiteralString, first: list[int], stats: dict[Key, Sums]
) -> None:
    """Add what is there, and write both. Bins are merged here: rows by hand may hold what SQL would not read."""
    if not stats:
        return
    keys = [[from_epoch(slot) for slot, *_ in stats], *(list(c) for c in list(zip(*stats, strict=True))[1:])]
    for slot, queue, type_, outcome, *row in connection.execute(there, [*first, *keys]).fetchall():
        stats[slot, queue, type_, outcome].add(tuple(row))
    columns = zip(*(sums.row() for sums in stats.values()), strict=True)
    connection.execute(put, [*first, *keys, *(list(column) for column in columns)])


def _minute(slot: float, now: float) -> float:
    """The slot; the time of creation may have been written by hand, and be no time that a calendar has."""
    if not math.isfinite(slot) or not -62_135_596_800.0 <= slot < _YEAR_10000:
        slot = now
    return slot - slot % MINUTE_S
