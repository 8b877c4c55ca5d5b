"""How often a process asks its database, for how long, and how often in vain: counted once somebody wants to know."""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from functools import lru_cache

from prismq.storage.contract import QueryFigures, Timings

# Where durations of statements and requests are cut, in seconds: a look into an index takes 50 µs, and nothing of a
# server's may take longer than 10 s.
BOUNDARIES_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

KINDS = ("select", "insert", "update", "delete", "other")
OUTCOMES = ("committed", "rolled_back")
CONTROL = "control"  # what begins and ends transactions, and settings of a connection: no query

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"[()]|'(?:[^']|'')*'|\w+")
_CONTROL = frozenset({"begin", "commit", "rollback", "savepoint", "release", "pragma", "set", "end", "start"})


@lru_cache(maxsize=1024)
def kind_of(sql: str) -> str:
    """What a statement does: one of KINDS, or CONTROL. Behind WITH it is the first verb outside of parentheses."""
    depth = 0
    for word in _WORD.findall(_COMMENT.sub(" ", sql).lower()):
        depth += (word == "(") - (word == ")")
        if depth or word in ("(", ")"):
            continue
        if word in KINDS[:4]:
            return str(word)
        if word in _CONTROL:
            return CONTROL
        if word == "values":
            return "select"
        if word in ("analyze", "vacuum", "create", "drop", "alter", "copy", "lock", "notify", "listen"):
            break
    return "other"


class Timing:
    """How many values lie up to each boundary, each on its own, and their sum. Not for several threads at once."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDARIES_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDARIES_S, seconds)] += 1
        self.sum_s += seconds

    def figures(self) -> Timings:
        """As it is now."""
        return Timings(tuple(self.counts), self.sum_s)


class Meter:
    """Counts what the connections of one process do. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statements = {kind: Timing() for kind in KINDS}
        self._transactions = {outcome: Timing() for outcome in OUTCOMES}
        self._waits_s = 0.0
        self._busy = 0

    def statement(self, sql: str, seconds: float) -> None:
        """A statement was run, whatever became of it."""
        kind = kind_of(sql)
        if kind != CONTROL:
            with self._lock:
                self._statements[kind].add(seconds)

    def transaction(self, seconds: float, *, committed: bool) -> None:
        """A transaction is over, the wait for its lock left aside."""
        with self._lock:
            self._transactions[OUTCOMES[not committed]].add(seconds)

    def waited(self, seconds: float) -> None:
        """Somebody waited for a lock, or a connection."""
        with self._lock:
            self._waits_s += seconds

    def busy(self) -> None:
        """Somebody gave up waiting."""
        with self._lock:
            self._busy += 1

    def figures(self) -> QueryFigures:
        """All of it at one moment."""
        with self._lock:
            return QueryFigures(
                {kind: timing.figures() for kind, timing in self._statements.items()},
                {outcome: timing.figures() for outcome, timing in self._transactions.items()},
                self._waits_s,
                self._busy,
            )
