"""The workers, and what to think of them."""

from __future__ import annotations

from prismq.app import PrismQ
from prismq.observability.condition import WorkerView, views


def views_of(q: PrismQ) -> list[WorkerView]:
    """Every worker, latest heartbeat first."""
    now = q.clock.now()
    return views(q.store.workers.all(), q.store.queues.all(now), q.store.insight.ready_routes(now), now)
