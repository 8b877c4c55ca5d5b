"""How the queue steers itself: slots that are wanted, breakers, and what was put right."""

from __future__ import annotations

from collections.abc import Iterable

from prismq.domain.breaker import BreakerState
from prismq.domain.limits import METRIC_PAIRS_MAX
from prismq.domain.promise import NONE_GIVEN, Promises, promise_of, strictest
from prismq.domain.sizing import size_for, together
from prismq.observability.exposition.samples import Samples
from prismq.storage.contract import QueueInfo, Store
from prismq.storage.demand import demands
from prismq.worker.acts import ACTS

_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.PROBING: 1, BreakerState.OPEN: 2}


def steering_samples(
    store: Store, now: float, promises: Promises = NONE_GIVEN, queues: Iterable[QueueInfo] | None = None
) -> Samples:
    """The figures. `promises`: what the settings say of single queues. `queues`: all of them, where they are known
    already. Of breakers that were ever opened, those that are open first, so many at most."""
    breakers = store.remedies.breakers()
    found = demands(store, now, known=queues, breakers=breakers)
    promise = strictest(promise_of(queue, promises=promises) for queue in found)
    totals = {one.act: one for one in store.remedies.totals()}
    worst = sorted(breakers, key=lambda one: (-_STATES[one.state], one.type))[:METRIC_PAIRS_MAX]
    return {
        "prismq_slots_wanted": [((), size_for(together(found.values()), promise).slots)],
        "prismq_remediation_total": [((act,), totals[act].times if act in totals else 0) for act in ACTS],
        "prismq_remediation_tasks_total": [((act,), totals[act].tasks if act in totals else 0) for act in ACTS],
        "prismq_breaker_state": [((one.type,), _STATES[one.state]) for one in worst],
    }
