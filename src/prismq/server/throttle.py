"""Slows down who guesses: so many failures from an address in a time, and no more tries until it has passed."""

from __future__ import annotations

from collections import OrderedDict, deque

from prismq.clock import Clock

_ADDRESSES_MAX = 10_000


class Throttle:
    """At most `failures` of one address within `window_s`. Used on the event loop alone."""

    def __init__(self, clock: Clock, failures: int, window_s: float) -> None:
        self._clock, self._failures, self._window_s = clock, failures, window_s
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 where it may now."""
        seen = self._seen.get(address)
        if seen is None:
            return 0.0
        now = self._clock.monotonic()
        while seen and now - seen[0] >= self._window_s:
            seen.popleft()
        if not seen:
            del self._seen[address]
            return 0.0
        return 0.0 if len(seen) < self._failures else self._window_s - (now - seen[0])

    def failed(self, address: str) -> None:
        """Somebody at this address was wrong."""
        seen = self._seen.setdefault(address, deque(maxlen=self._failures))
        self._seen.move_to_end(address)
        seen.append(self._clock.monotonic())
        if len(self._seen) > _ADDRESSES_MAX:  # who has been quiet for longest is forgotten
            self._seen.popitem(last=False)

    def forget(self, address: str) -> None:
        """Somebody at this address was right."""
        self._seen.pop(address, None)
