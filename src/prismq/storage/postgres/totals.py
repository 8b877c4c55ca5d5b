"""Statistics since the beginning, which never become less.

Folding adds what writers appended; what nobody has folded yet is added by who reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prismq.domain.sketch import Sketch
from prismq.storage.contract import Outcomes
from prismq.storage.postgres.database import Connection
from prismq.storage.postgres.queries import query

_TOTALS = query("totals")
_BINS_OF_TOTALS = query("bins_of_totals")
_ADD_TOTALS = query("add_totals")
_MICRO = 1e6


def add_up(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add these to the totals: (queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins).

    The caller is the only one who folds.
    """
    groups: dict[tuple[str, str, str], list[Outcomes]] = {}
    for one in map(Outcomes._make, rows):
        groups.setdefault(one[:3], []).append(one)
    if not groups:
        return
    keys = [list(column) for column in zip(*groups, strict=True)]
    bins: dict[tuple[str, str, str], tuple[str | None, str | None]] = {
        (queue, type_, outcome): (wait, run)
        for queue, type_, outcome, wait, run in connection.execute(_BINS_OF_TOTALS, keys).fetchall()
    }
    sums = [_sums(entries, *bins.get(key, (None, None))) for key, entries in groups.items()]
    connection.execute(_ADD_TOTALS, [*keys, *(list(column) for column in zip(*sums, strict=True))])


def totals(connection: Connection) -> list[Outcomes]:
    """See Insight.totals."""
    return [
        Outcomes._make((*counts, wait_us / _MICRO, run_us / _MICRO, wait_bins, run_bins))
        for _, *counts, wait_us, run_us, wait_bins, run_bins in connection.execute(_TOTALS).fetchall()
    ]


def _sums(entries: list[Outcomes], wait_bins: str | None, run_bins: str | None) -> tuple[int | str | None, ...]:
    wait = Sketch.merged([wait_bins, *(e.wait_bins for e in entries)])
    run = Sketch.merged([run_bins, *(e.run_bins for e in entries)])
    return (
        sum(e.tasks for e in entries),
        sum(e.attempts for e in entries),
        sum(e.retried for e in entries),
        # Each to the microsecond, as who reads has it: then the sum is the same before and after.
        sum(round(e.wait_s * _MICRO) for e in entries),
        sum(round(e.run_s * _MICRO) for e in entries),
        wait.to_json() if wait.bins else None,
        run.to_json() if run.bins else None,
    )
