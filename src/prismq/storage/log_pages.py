"""A look through all log lines that has an end: one stretch of them at a time, from the newest backwards."""

from __future__ import annotations

from collections.abc import Callable

from prismq.domain.limits import LOGS_LOOKED_AT
from prismq.domain.task import LogFilter, LogPage, TaskLog

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LATE_S = 60.0  # a line is written a moment after its time, and where the store was away, some moments


def levels_from(least: str) -> list[str]:
    """This level and those above it; none for one that there is not."""
    return list(LEVELS[LEVELS.index(least) :]) if least in LEVELS else []


def page_of(
    which: LogFilter,
    *,
    limit: int,
    before_id: int | None,
    first: int,
    last: int,
    is_before: Callable[[int, float], bool],
    found: Callable[[int, int], list[TaskLog]],
) -> LogPage:
    """See TaskLogStore.find. `first` and `last` are the ids of the table; `is_before` says whether the first line with
    this id or a later one is older than a time; `found` gives what matches from one id up to, not with, another."""
    end = last + 1 if before_id is None else min(before_id, last + 1)
    if before_id is None and which.before is not None:
        end = _first_since(which.before + _LATE_S, first, end, is_before)
    start = max(first, end - LOGS_LOOKED_AT)
    lines = found(start, end)
    if len(lines) == limit:
        return LogPage(lines, lines[-1].log_id)
    over = start <= first or (which.after is not None and is_before(start, which.after - _LATE_S))
    return LogPage(lines, None if over else start)


def _first_since(at: float, low: int, high: int, is_before: Callable[[int, float], bool]) -> int:
    # Ids and times grow together, but for lines that came late.
    while low < high:
        middle = (low + high) // 2
        if is_before(middle, at):
            low = middle + 1
        else:
            high = middle
    return high
