"""What the server says of the requests that it answers."""

from __future__ import annotations

import httpx
import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.limits import METRIC_ROUTES_MAX
from prismq.observability.exposition.samples import Histogram
from prismq.server.requests import Counting, RequestCounter

Answered = dict[tuple[str, ...], float | Histogram]


def answered(counter: RequestCounter) -> Answered:
    return dict(counter.samples()["prismq_http_requests_total"])


def figures(text: str, name: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(name))
    return {labels.removeprefix(name): float(value) for labels, _, value in lines}


def test_requests_are_counted_by_route_and_not_by_what_is_in_the_path(client: httpx.Client) -> None:
    for path in ("/api/v1/tasks", "/api/v1/tasks/7", "/api/v1/tasks/8", "/nowhere", "/nowhere/else"):
        client.get(path)
    client.post("/api/v1/tasks", content="x", headers={"content-type": "text/plain"})
    text = client.get("/metrics").text
    found = figures(text, "prismq_http_requests_total")
    assert found['{method="GET",route="/api/v1/tasks",status="200"}'] == 1
    assert found['{method="GET",route="/api/v1/tasks/{task_id}",status="404"}'] == 2
    assert found['{method="GET",route="unmatched",status="404"}'] == 2
    assert found['{method="POST",route="unmatched",status="415"}'] == 1  # refused before it had a route
    took = figures(text, "prismq_http_request_seconds_count")
    assert took['{method="GET",route="/api/v1/tasks/{task_id}"}'] == 2
    assert figures(text, "prismq_database_query_seconds_count")['{type="select"}'] > 0
    assert figures(text, "prismq_database_pool_connections")['{state="available"}'] >= 1


def test_routes_and_methods_are_bounded() -> None:
    counter = RequestCounter()
    counter.add("BREW", "/pot", 418, 0.1)
    for number in range(METRIC_ROUTES_MAX + 10):
        counter.add("GET", f"/{number}", 200, 0.1)
    found = answered(counter)
    assert found["other", "/pot", "418"] == 1
    assert found["other", "other", "200"] == 11
    assert len(found) == METRIC_ROUTES_MAX + 1
    assert sum(value for value in found.values() if isinstance(value, int)) == METRIC_ROUTES_MAX + 11


async def _nothing() -> object:
    return {}


async def _forget(_: object) -> None:
    return None


@pytest.mark.parametrize(("error", "status"), [(ValueError(), "500"), (KeyboardInterrupt(), "499")])
def test_what_is_never_answered_counts_too(error: BaseException, status: str) -> None:
    import asyncio

    async def fails(*_: object) -> None:
        raise error

    counter = RequestCounter()
    scope = {"type": "http", "method": "GET", "path": "/"}
    run = Counting(fails, counter, SYSTEM_CLOCK)(scope, _nothing, _forget)  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        asyncio.run(run)
    assert answered(counter) == {("GET", "unmatched", status): 1}
