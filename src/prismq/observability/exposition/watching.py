"""What those who watch the queue have found: the canary tasks, and what prismq's own alerts are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from prismq.domain.limits import METRIC_QUEUES_MAX
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.observability.alerts.definitions import ALERTS
from prismq.observability.exposition.samples import Labels, Samples
from prismq.storage.contract import Store

# Where nobody has looked for longer, nobody knows whether it is still so; as the alerts themselves have it.
FRESH_S = 120.0


def alert_samples(store: Store, now: float) -> Samples:
    """How many things each built-in alert is about, pending ones among them. Raises QueueDatabaseError."""
    past = Counter(
        one.rule for one in store.alerts.open() if one.clear_since is None and abs(now - one.seen) <= FRESH_S
    )
    return {"prismq_alert_instances": [((alert.name,), past[alert.name]) for alert in ALERTS]}


def canary_samples(store: Store, now: float, label: Callable[[str], Labels]) -> Samples:
    """How the canary of each queue does; `label`: what a queue is counted under. Raises QueueDatabaseError."""
    canaries = store.alerts.canaries()[:METRIC_QUEUES_MAX]
    ids = tuple(one.task_id for one in canaries if one.waiting_since is not None)
    # One that is done waits for nobody but the next look of whoever sends them.
    done = {
        task.id
        for task in (store.tasks.find(TaskFilter(ids=ids), limit=len(ids)) if ids else ())
        if task.status == TaskStatus.COMPLETED
    }
    waiting: dict[Labels, float] = {}
    came: dict[Labels, float] = {}
    for one in canaries:
        name = label(one.queue)
        since = None if one.task_id in done else one.waiting_since
        waiting[name] = max(waiting.get(name, 0.0), 0.0 if since is None else max(0.0, now - since))
        if one.done_at is not None:
            came[name] = min(came.get(name, one.done_at), one.done_at)
    return {
        "prismq_canary_waiting_seconds": list(waiting.items()),
        "prismq_canary_last_success_timestamp_seconds": list(came.items()),
    }
