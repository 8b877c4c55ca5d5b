"""From what is asked of a queue to the slots it needs. Pure: figures in, advice out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from prismq.domain.promise import Promise
from prismq.domain.queueing import LOAD_MAX, offered_load, slots_for, wait_s

# A backlog is to be gone within the target wait, but not sooner than this: a worker takes seconds to start.
CATCH_UP_S_MIN = 30.0
SLOTS_MAX = 256_000  # what a supervisor may run: 256 processes of 1,000 slots


@dataclass(frozen=True)
class Demand:
    """What is asked of a queue. Rates are attempts a second, retries among them; times are seconds.

    service_s: the mean of one attempt; None where none ended lately, so that nobody knows. variability: (1 + cs²) / 2
    of the service times, 1 where they are exponential. waiting: ready tasks; running: in workers' hands; oldest_s: how
    long the longest-waiting ready task has been ready, None where none is; unmeasured: slots held by tasks of other
    queues in this sum, whose service time is not known; limit: how many may run at once, whatever there are slots.
    """

    arrivals_per_s: float = 0.0
    service_s: float | None = None
    variability: float = 1.0
    waiting: int = 0
    running: int = 0
    oldest_s: float | None = None
    unmeasured: int = 0
    limit: int | None = None

    def usable(self) -> Demand:
        """What slots can do something about: a queue with a limit can use no more than that."""
        if self.limit is None:
            return self
        rate = self.arrivals_per_s
        if self.service_s:
            rate = min(rate, self.limit / self.service_s)
        return replace(self, arrivals_per_s=rate, waiting=min(self.waiting, self.limit), limit=None)

    @property
    def load(self) -> float:
        """Busy slots on average (Little's law); what runs now where the service time is not known. At most
        LOAD_MAX."""
        if self.service_s is None:
            return float(self.running)
        return self.measured + self.unmeasured

    @property
    def measured(self) -> float:
        """The part of the load that is made of rates and times."""
        return min(LOAD_MAX, offered_load(self.arrivals_per_s, self.service_s or 0.0))


@dataclass(frozen=True)
class Size:
    """How many slots a queue needs, and what each rule says.

    floor: fewer cannot keep up (Little's law). steady: holds the promise as long as the rate stays (M/M/c). catch_up:
    has what waits now gone in time. slots: the most of them, at least 1.
    """

    load: float
    floor: int
    steady: int
    catch_up: int
    slots: int


def size_for(demand: Demand, promise: Promise) -> Size:
    """The slots that `demand` needs for `promise`.

    Where no service time is known, the steady state cannot be computed: then it is what runs, and one more slot where
    tasks wait longer than promised.
    """
    limit = demand.limit or SLOTS_MAX
    demand = demand.usable()
    load = demand.load
    floor = max(1, math.ceil(load))
    late = demand.oldest_s is not None and demand.oldest_s > promise.target_s
    if demand.service_s is None:
        steady = catch_up = max(1, demand.running + (1 if demand.waiting and late else 0))
    else:
        steady = demand.unmeasured + slots_for(
            demand.measured, demand.service_s, promise.target_s, promise.part, demand.variability
        )
        horizon_s = max(promise.target_s, CATCH_UP_S_MIN)
        # What arrives meanwhile is served besides.
        catch_up = math.ceil(load + demand.waiting * demand.service_s / horizon_s - 1e-9)
    slots = min(SLOTS_MAX, limit, max(1, floor, steady, catch_up))
    return Size(load, floor, steady, max(1, catch_up), slots)


def wait_with(slots: int, demand: Demand, promise: Promise) -> float | None:
    """The wait in seconds that the promise's part of the tasks will not exceed with so many slots, once the backlog is
    gone; infinite where they cannot keep up, None where no service time is known."""
    if demand.service_s is None:
        return None
    slots = max(0, slots - demand.unmeasured)
    return wait_s(promise.part, slots, demand.measured, demand.service_s, demand.variability)


def drain_s(slots: int, demand: Demand) -> float | None:
    """Seconds until what waits is gone with so many slots at the present rate; 0 where nothing waits, infinite where
    they cannot keep up, None where no service time is known."""
    if not demand.waiting:
        return 0.0
    if demand.service_s is None:
        return None
    spare = slots - demand.load
    return demand.waiting * demand.service_s / spare if spare > 0 else math.inf


def together(demands: Iterable[Demand]) -> Demand:
    """Several queues served by the same slots, as one. Service times are weighted by their rates; where tasks of one
    kind are much longer than those of another, that shows in the variability. Those whose
    service time is not known count with the slots that they hold, and not with their rate."""
    found = [one.usable() for one in demands]
    known = [one for one in found if one.service_s is not None]
    arrivals = sum(one.arrivals_per_s for one in known or found)
    weights = [one.arrivals_per_s for one in known]
    if known and not any(weights):
        weights = [1.0] * len(known)
    total = sum(weights)
    service_s: float | None = None
    variability = 1.0
    if known and total > 0:
        pairs = list(zip(weights, known, strict=True))
        service_s = sum(weight * (one.service_s or 0.0) for weight, one in pairs) / total
        # (1 + cs²) / 2 is E[S²] / (2 E[S]²), and second moments add up as first ones do.
        second = sum(weight * 2 * one.variability * (one.service_s or 0.0) ** 2 for weight, one in pairs) / total
        variability = second / (2 * service_s**2) if service_s > 1e-9 else 1.0
    ages = [one.oldest_s for one in found if one.oldest_s is not None]
    return Demand(
        arrivals,
        service_s,
        variability,
        sum(one.waiting for one in found),
        sum(one.running for one in found),
        max(ages, default=None),
        sum(one.running for one in found if one.service_s is None) if known else 0,
    )
