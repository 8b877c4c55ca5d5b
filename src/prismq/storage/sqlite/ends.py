"""Tasks that were ended by hand. Triggers list them, for a SQL tool cannot merge bins; here they are booked."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.sketch import Sketch
from prismq.storage.contract import Outcomes
from prismq.storage.entries import MINUTE_S
from prismq.storage.sqlite.queries import query

_UNBOOKED = query("unbooked_ends")
_TAKE = query("take_ends")
_ADD_STATS = query("add_stats")


def ends_wait(connection: sqlite3.Connection, more_than: int = 0) -> bool:
    """Whether more than this many ends wait to be booked."""
    return connection.execute("SELECT 1 FROM ends_by_hand LIMIT 1 OFFSET ?", (more_than,)).fetchone() is not None


def book_ends(connection: sqlite3.Connection) -> int:
    """Book what waits, BOOK_CHUNK at most, inside the caller's transaction; how many."""
    if not ends_wait(connection):
        return 0
    rows = connection.execute(_TAKE, (BOOK_CHUNK,)).fetchall()
    by_slot: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        if row["finished_at_utc"] is not None:
            by_slot.setdefault(f"{row['finished_at_utc'][:16]}:00", []).append(row)
    for slot, ended in by_slot.items():
        connection.executemany(_ADD_STATS, [(slot, MINUTE_S, *sums, 0) for sums in _summed(ended)])
    return len(rows)


def unbooked(connection: sqlite3.Connection, since: str, until: str) -> list[Outcomes]:
    """What waits to be booked, and ended between the two times, as if it were."""
    return list(_summed(connection.execute(_UNBOOKED, (since, until))))


def _summed(rows: Iterable[Any]) -> Iterator[Outcomes]:
    groups: dict[tuple[str, str, str], list[Any]] = {}
    used_up: Counter[tuple[str, str]] = Counter()
    for row in rows:
        groups.setdefault((row["queue"], row["type"], row["outcome"]), []).append(row)
        if row["used_up"]:
            used_up[row["queue"], row["type"]] += 1
    for (queue, type_), tasks in used_up.items():
        yield Outcomes(queue, type_, "used_up", tasks, 0, 0, 0.0, 0.0, None, None)
    for (queue, type_, outcome), ended in groups.items():
        attempts = [row["attempts"] for row in ended]
        runs = [max(0.0, row["run_s"]) for row in ended if row["run_s"] is not None]
        sketch = Sketch()
        for run_s in runs:
            sketch.add(run_s)
        yield Outcomes(
            queue,
            type_,
            outcome,
            len(ended),
            sum(attempts),
            sum(count > 1 for count in attempts),
            0.0,  # nobody knows since when it was ready
            sum(runs),
            None,
            sketch.to_json() if runs else None,
        )
