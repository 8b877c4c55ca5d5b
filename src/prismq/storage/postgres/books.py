"""The books: counts and statistics, kept by whoever changes a task, in the same transaction.

A Ledger is one transaction's entries, summed and appended once. Appended, not added to a counter: many processes
write at the same time and none may wait for another. Maintenance folds them; a reader adds up both.
"""

from __future__ import annotations

from typing import Any, Protocol

from prismq.domain.times import from_epoch
from prismq.storage.entries import MINUTE_S, Entries
from prismq.storage.postgres.arrays import arrays
from prismq.storage.postgres.queries import query

_ADD_DEPTH = query("add_depth")
_ADD_STATS = query("add_stats")


class Statements(Protocol):
    """What runs statements: a connection of ours, or a guest."""

    def execute(self, query: Any, params: Any = None) -> Any:
        """As psycopg's connections do."""
        ...


class Ledger(Entries):
    """What one transaction changes in the books. `now` is by the server's clock: PostgresDatabase.at, as seconds."""

    def __init__(self, connection: Statements, now: float) -> None:
        super().__init__()
        self._connection = connection
        self._now = now

    def close(self) -> None:
        """Write what was summed; the last thing before the commit."""
        changed = self._depth_rows()
        if changed:
            self._connection.execute(_ADD_DEPTH, arrays(changed))
        if self._ended:
            slot = from_epoch(self._now - self._now % MINUTE_S)
            self._connection.execute(_ADD_STATS, (slot, *arrays(list(self._stats_rows()))))
