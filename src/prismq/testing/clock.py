"""A clock that stands still until it is moved."""

from __future__ import annotations

import threading


class ManualClock:
    """The Clock protocol, moved by hand. `start` is seconds since 1970."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._now = start
        self._mono = 0.0

    def now(self) -> float:
        """See Clock.now."""
        return self._now

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return self._mono

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Nobody waits: the time passes at once."""
        if not event.is_set():
            self.advance(timeout_s)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass."""
        self._now += seconds
        self._mono += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; the monotonic one goes on."""
        self._now += seconds
