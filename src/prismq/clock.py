"""The only file that reads the time."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; tests and the simulation hand in one that jumps."""

    def now(self) -> float:
        """Seconds since 1970 in UTC, by the wall clock; it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set or `timeout_s` has passed; True when it is set."""
        ...


class SystemClock:
    """The machine's own clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait on the event itself."""
        return event.wait(timeout_s)


SYSTEM_CLOCK: Clock = SystemClock()
