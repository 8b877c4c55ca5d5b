"""Which queues there are: a name that nothing knows is a mistake, and no queue at rest."""

from __future__ import annotations

from collections.abc import Collection

from prismq.config import Settings
from prismq.domain.errors import closest
from prismq.observability.condition import views
from prismq.storage.contract import Store


def named_in(settings: Settings) -> frozenset[str]:
    """The queues that the settings name: those with a promise, of the worker, with a bound, and with a canary."""
    worker = settings.worker
    return frozenset([*settings.slo.promises, *(worker.queues or ()), *worker.shed, *settings.alerts.canary_queues])


def no_queue(store: Store, now: float, queues: Collection[str], named: Collection[str]) -> str | None:
    """What to say of the first of `queues` that is none; None where each of them is a queue.

    A queue holds a task or held one, is paused or limited, or a worker, a schedule or a setting (`named`) names it. A
    worker that serves every queue names none. Raises QueueDatabaseError.
    """
    there = {one.queue for one in store.queues.all(now)}.union(named)
    if there.issuperset(queues):  # as nearly always, so that the rest is not asked for
        return None
    there.update(one.queue for one in store.insight.totals(now))
    there.update(name for one in views(store.workers.all(), (), (), now) for name in one.queues or ())
    there.update(one.template.queue for one in store.schedules.all())
    missing = next((name for name in queues if name not in there), None)
    if missing is None:
        return None
    return (
        f"there is no queue {missing!r}: it never had a task, and no worker, schedule or setting names it."
        f"{closest(missing, sorted(there))}"
    )
