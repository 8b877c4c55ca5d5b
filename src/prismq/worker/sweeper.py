"""Clears up after many changes before they slow the claims, sooner than the server would by itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import QueueDatabaseError
from prismq.storage.contract import Upkeep

# PostgreSQL's autovacuum looks once a minute. At ten thousand tasks a second more than a million dead versions lie at
# the head of the queue by then, and every claim has to step over them.
SWEEP_S = 10.0
_SHARE = 4.0  # of the time at most a fifth is spent on it, however large the tables are


class Sweeper:
    """`step()` looks whether there is enough to clear up, and does so in a thread: it may take long."""

    def __init__(self, upkeep: Upkeep, clock: Clock, emit: ev.Emit) -> None:
        self._upkeep = upkeep
        self._clock = clock
        self._emit = emit
        self._thread: threading.Thread | None = None
        self._rest_s = SWEEP_S

    def step(self) -> float:
        """Look, and begin where it is worth it; the seconds until the next look."""
        if self._thread is not None:
            if self._thread.is_alive():
                return 1.0
            self._thread = None
            return self._rest_s
        tables = self._upkeep.littered()
        if not tables:
            return SWEEP_S
        self._thread = threading.Thread(target=self.sweep, args=(tables,), name="prismq-sweeper", daemon=True)
        self._thread.start()
        return 1.0

    def sweep(self, tables: Sequence[str]) -> None:
        """Clear these up now."""
        start = self._clock.monotonic()
        try:
            self._upkeep.sweep(tables)
        except QueueDatabaseError as error:  # the server does it later; whoever stops it knows
            self._emit(ev.ChoreFailed("sweep", str(error)))
        self._rest_s = max(SWEEP_S, _SHARE * (self._clock.monotonic() - start))
