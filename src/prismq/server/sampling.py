"""How many requests the server has answered without a fault of its own, once a minute, for the service level."""

from __future__ import annotations

from prismq.clock import Clock
from prismq.observability.slo.counting import SERIES
from prismq.observability.slo.levels import API
from prismq.server.requests import RequestCounter
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import Sample

MINUTE_S = 60.0
# They say how others are: 503 is a right answer there.
_HEALTH = ("/health", "/api/v1/health")


class RequestSampler:
    """`step()` writes what was answered since the last time. What the store does not take now it takes the next time.

    Requests that a server answered and had not written when it ended are not counted.
    """

    def __init__(self, store: Store, clock: Clock, counter: RequestCounter) -> None:
        self._store, self._clock, self._counter = store, clock, counter
        self._good, self._total = self._counts()

    def step(self) -> float:
        """Write; the seconds until the next minute ends. Raises QueueDatabaseError."""
        now = self._clock.now()
        good, total = self._counts()
        if total > self._total:
            slot = now // MINUTE_S * MINUTE_S
            self._store.levels.add([Sample(SERIES[API], slot, good - self._good, total - self._total)])
            self._good, self._total = good, total
        return MINUTE_S - now % MINUTE_S

    def _counts(self) -> tuple[int, int]:
        good = total = 0
        for (_, route, status), count in self._counter.samples()["prismq_http_requests_total"]:
            if not route.startswith(_HEALTH) and isinstance(count, int):
                total += count
                good += 0 if status.startswith("5") else count
        return good, total
