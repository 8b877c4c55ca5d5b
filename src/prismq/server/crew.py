"""The workers, and what to think of them."""

from __future__ import annotations

from prismq.app import PrismQ
from prismq.observability.condition import WorkerView, crew_of


def views_of(q: PrismQ) -> list[WorkerView]:
    """Every worker, latest heartbeat first."""
    return crew_of(q.store.standing(q.clock.now()))
