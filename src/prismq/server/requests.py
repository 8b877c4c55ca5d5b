"""How many requests the server has answered, how, and how long they took."""

from __future__ import annotations

from collections import Counter

from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prismq.clock import Clock
from prismq.domain.limits import METRIC_ROUTES_MAX
from prismq.observability.exposition.samples import Samples, histogram_of_counts
from prismq.storage.measuring import Timing

UNMATCHED, STATIC = "unmatched", "/static"
OTHER = "other"
_GONE = 499  # nothing was answered: the caller hung up, or the server is stopping
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestCounter:
    """The counts of one server. Requests are counted on the event loop, and read from any thread."""

    def __init__(self) -> None:
        self._answered: Counter[tuple[str, str, str]] = Counter()
        self._took: dict[tuple[str, str], Timing] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one. Routes and methods are few; where somebody makes them many, the rest is `other`."""
        key = (method if method in _METHODS else OTHER, route, str(status))
        if key not in self._answered and len(self._answered) >= METRIC_ROUTES_MAX:
            key = (OTHER, OTHER, key[2])
        self._answered[key] += 1
        timing = self._took.get(key[:2])
        if timing is None:
            timing = self._took[key[:2]] = Timing()
        timing.add(seconds)

    def samples(self) -> Samples:
        """For the page of metrics; nothing before the first request."""
        # Copies, made at once: the event loop goes on counting.
        answered, took = list(self._answered.items()), list(self._took.items())
        return {
            "prismq_http_requests_total": [(labels, count) for labels, count in answered],
            "prismq_http_request_seconds": [
                (labels, histogram_of_counts(found.counts, found.sum_s))
                for labels, found in ((labels, timing.figures()) for labels, timing in took)
            ],
        }


class Counting:
    """Stands round everything else, so that what is refused counts as well."""

    def __init__(self, app: ASGIApp, counter: RequestCounter, clock: Clock) -> None:
        self._app, self._counter, self._clock = app, counter, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = self._clock.monotonic(), _GONE

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            status = 500
            raise
        finally:
            self._counter.add(scope["method"], _route_of(scope), status, self._clock.monotonic() - began)


def _route_of(scope: Scope) -> str:
    """The route's own path, with its parameters' names in place of their values."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if isinstance(path, str) and path:
        return path
    return STATIC if isinstance(scope.get("endpoint"), StaticFiles) else UNMATCHED
