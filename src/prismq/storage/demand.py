"""What is asked of each queue, from the books: the figures that scaling is decided by."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from prismq.domain.breaker import Breaker
from prismq.domain.sizing import Demand
from prismq.domain.sketch import Sketch, value_of
from prismq.storage.contract import Outcomes, QueueInfo, Store
from prismq.storage.entries import HOUR_S

# The rate is the higher of these two, so that it rises at once and falls slowly; see Demand.
RATE_WINDOWS_S = (60.0, 300.0)
# The shortest in which so many attempts ended that their mean is within some 10 % of what it would be of ever more
# (1 / sqrt(n) of their deviation, which of most tasks is about the mean); else the longest in which any did.
SERVICE_WINDOWS_S = (600.0, HOUR_S, 24 * HOUR_S)
SERVICE_ATTEMPTS = 100

_SLOT_S = 60.0
ARRIVALS = ("enqueued", "retried", "snoozed", "lost")  # each brings one more attempt
ATTEMPTS = ("completed", "failed", "dead_letter", "retried", "snoozed")  # each held a slot while it ran


class Service(NamedTuple):
    """How long attempts of a queue take: the mean in seconds, (1 + cs²) / 2, and of how many attempts."""

    mean_s: float
    variability: float
    attempts: int


def demands(
    store: Store,
    now: float,
    *,
    queues: Collection[str] | None = None,
    known: Iterable[QueueInfo] | None = None,
    breakers: Iterable[Breaker] | None = None,
) -> dict[str, Demand]:
    """The demand on every queue that holds or had a task lately, paused ones left out; `queues`: of these alone. What a
    breaker keeps waiting does not wait for slots. `known` and `breakers`: what store.queues.all and
    store.remedies.breakers say, for who has asked already.

    It costs three to six questions of the books, whose cost does not depend on how many tasks there are. A task that
    was enqueued for later counts as arrived when it was enqueued. Raises QueueDatabaseError.
    """
    infos = {one.queue: one for one in (store.queues.all(now) if known is None else known)}
    rates: dict[str, float] = {}
    for window_s in RATE_WINDOWS_S:
        for queue, per_s in _rates(store, now, window_s).items():
            rates[queue] = max(rates.get(queue, 0.0), per_s)
    names = {
        name
        for name in {*infos, *rates}
        if (queues is None or name in queues) and (name not in infos or infos[name].paused_at is None)
    }
    services: dict[str, Service] = {}
    for window_s in SERVICE_WINDOWS_S:
        few = {name for name in names if name not in services or services[name].attempts < SERVICE_ATTEMPTS}
        if not few:
            break
        since = max(0.0, now - window_s)
        if window_s >= HOUR_S:
            # Whole hours, of which the books have the sums; from a little before, as the server's clock may be ahead.
            since = max(0.0, since - since % HOUR_S - _SLOT_S / 2)
        ended = store.insight.outcomes(since, now, only=ATTEMPTS, queues=tuple(sorted(few)), waits=False)
        services |= services_of(ended)
    kept = _kept_by(store.remedies.breakers() if breakers is None else breakers, store)
    demand: dict[str, Demand] = {}
    for name in sorted(names):
        info, service = infos.get(name), services.get(name)
        depth = info.depth if info is not None else {}
        demand[name] = Demand(
            rates.get(name, 0.0),
            service.mean_s if service else None,
            service.variability if service else 1.0,
            max(0, depth.get("queued", 0) - kept.get(name, 0)),
            depth.get("claimed", 0) + depth.get("processing", 0),
            info.oldest_ready_s if info is not None else None,
            limit=info.max_running if info is not None else None,
        )
    return demand


def _kept_by(breakers: Iterable[Breaker], store: Store) -> dict[str, int]:
    """Ready tasks by queue that no slot may take, because the breaker of their type is not closed."""
    shut = {one.type for one in breakers if one.is_shut}
    kept: dict[str, int] = {}
    for (queue, type_, status, _), tasks in store.insight.depth().items() if shut else ():
        if type_ in shut and status == "queued":
            kept[queue] = kept.get(queue, 0) + tasks
    return kept


def _rates(store: Store, now: float, window_s: float) -> dict[str, float]:
    since = max(0.0, now - window_s)
    since -= since % _SLOT_S  # the slot that it falls into belongs to the window, so that it is longer than asked for
    counts: dict[str, int] = {}
    for one in store.insight.outcomes(since, now, only=ARRIVALS, bins=False):
        counts[one.queue] = counts.get(one.queue, 0) + one.tasks
    return {queue: tasks / max(window_s, now - since) for queue, tasks in counts.items()}


def services_of(outcomes: Iterable[Outcomes]) -> dict[str, Service]:
    """How long the attempts that ended took, by queue; those whose beginning is not known do not count."""
    found: dict[str, tuple[list[str | None], float]] = {}
    for one in outcomes:
        if one.run_bins:
            texts, run_s = found.get(one.queue, ([], 0.0))
            found[one.queue] = ([*texts, one.run_bins], run_s + one.run_s)
    services: dict[str, Service] = {}
    for queue, (texts, run_s) in found.items():
        sketch = Sketch.merged(texts)
        if sketch.count:
            mean_s = run_s / sketch.count
            services[queue] = Service(mean_s, _variability(sketch), sketch.count)
    return services


def _variability(sketch: Sketch) -> float:
    # Both moments by the bins, so that the 2 % by which these are off cancel out.
    total, first, second = 0, 0.0, 0.0
    for number, count in sketch.bins.items():
        value = value_of(number)
        total += count
        first += value * count
        second += value * value * count
    mean, second = first / total, second / total
    # A single task says nothing of how they vary; a constant time would promise too much.
    return second / (2 * mean * mean) if total > 1 and mean > 0 else 1.0
