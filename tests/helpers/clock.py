"""A clock that moves when a test says so."""

from __future__ import annotations

import threading

# Later than today: what a database's own clock writes into rows inserted by hand is in the past for the tests.
START = 2_000_000_000.0


class FakeClock:
    """The Clock protocol; waiting on it lets the time pass at once."""

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._monotonic = 1_000.0
        self._guard = threading.Lock()

    def now(self) -> float:
        """See Clock.now."""
        return self._now

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return self._monotonic

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Where the event is not set, `timeout_s` has passed when this returns."""
        if not event.is_set():
            self.advance(max(0.0, timeout_s))
        return event.is_set()

    def advance(self, seconds: float) -> float:
        """Time passes; the new time."""
        with self._guard:
            self._now += seconds
            self._monotonic += seconds
        return self._now

    def jump(self, seconds: float) -> float:
        """The wall clock is set, forwards or back; no time passes."""
        with self._guard:
            self._now += seconds
        return self._now
