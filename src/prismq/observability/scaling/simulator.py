"""What would a day have been like with another number of slots? It is replayed: the tasks that came, when they came.

The books say how many attempts began to wait in each stretch of time, and how long those that ended there took. Within
a stretch the arrivals are placed at random and independently, which is what a Poisson process does once its number is
known; their service times are drawn from the stretch's own. Slots are alike and take what came first.

Limits: the queue is empty at the beginning; priorities, limits of queues and pauses are not replayed; a burst within a
stretch is spread over it; and what the slots share (processor, database, a service that all of them call) is supposed
to be as fast for more of them.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from prismq.domain.errors import InvalidArgument
from prismq.domain.promise import Promise
from prismq.domain.sizing import SLOTS_MAX
from prismq.domain.sketch import Sketch, value_of
from prismq.storage.contract import Store
from prismq.storage.demand import ARRIVALS, ATTEMPTS

STEP_S = 600.0  # no finer than what the books keep for two weeks
DAY_S = 86_400.0
SECONDS_MAX = 7 * DAY_S
TASKS_MAX = 200_000  # some half a second of replay; see `lump` of Replayed
GROWTH_MAX = 1_000.0


class Stretch(NamedTuple):
    """A piece of the day: how many attempts came between `at_s` and `at_s + seconds` (since its beginning), and how
    long attempts took. None: nothing ended in it, so those of the whole day count."""

    at_s: float
    seconds: float
    arrivals: int
    service: Sketch | None


@dataclass(frozen=True)
class Replayed:
    """What the day would have been like. Times are seconds; all None or 0 where nothing came.

    service_s: the mean of an attempt as replayed. Where tasks came and none ended it is not known, and no figure that
    depends on it is: they are None. utilisation: the part of the slots' time that was busy, until the last task was
    done. drain_s: how long after the end of the day that was. lump: every simulated task stands for so many, because
    the day had more than can be replayed one by one; above 1, waits are told too long rather than too short.
    """

    slots: int
    tasks: int
    seconds: float
    promise: Promise
    service_s: float | None = None
    wait_p50_s: float | None = None
    wait_p95_s: float | None = None
    wait_p99_s: float | None = None
    wait_max_s: float | None = None
    kept: float | None = None
    utilisation: float | None = None
    waiting_max: int | None = None
    drain_s: float | None = None
    lump: int = 1

    @property
    def is_unknown(self) -> bool:
        """Whether tasks came of which nobody knows how long they take."""
        return self.tasks > 0 and self.service_s is None

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "slots": self.slots,
            "tasks": self.tasks,
            "seconds": self.seconds,
            "target_wait_seconds": self.promise.target_s,
            "target_part": self.promise.part,
            "service_seconds": _rounded(self.service_s),
            "wait_p50_seconds": self.wait_p50_s,
            "wait_p95_seconds": self.wait_p95_s,
            "wait_p99_seconds": self.wait_p99_s,
            "wait_max_seconds": self.wait_max_s,
            "part_within_target": self.kept,
            "utilization": _rounded(self.utilisation),
            "waiting_max": self.waiting_max,
            "drain_seconds": _rounded(self.drain_s),
            "lump": self.lump,
        }


def day_of(store: Store, now: float, *, seconds: float = DAY_S, queues: Collection[str] | None = None) -> list[Stretch]:
    """The last `seconds` as the books have them, in stretches of ten minutes; `queues`: of these alone.

    Raises QueueDatabaseError, and InvalidArgument for less than a stretch or more than a week.
    """
    if not STEP_S <= seconds <= SECONDS_MAX:
        raise InvalidArgument(f"what is replayed is {STEP_S:g} seconds to {SECONDS_MAX:g} (a week), not {seconds!r}")
    number = round(seconds / STEP_S)
    first = now - now % STEP_S + STEP_S - number * STEP_S
    among = None if queues is None else tuple(queues)
    found = []
    for at_s in (index * STEP_S for index in range(number)):
        # The slots of the books that both ends fall into belong to the window.
        arrivals, texts = 0, []
        for one in store.insight.outcomes(max(0.0, first + at_s), first + at_s + STEP_S - 1, queues=among, waits=False):
            if one.outcome in ARRIVALS:
                arrivals += one.tasks
            if one.outcome in ATTEMPTS and one.run_bins:
                texts.append(one.run_bins)
        found.append(Stretch(at_s, STEP_S, arrivals, Sketch.merged(texts) if texts else None))
    return found


def replay(
    day: Sequence[Stretch], slots: int, rng: Random, *, promise: Promise | None = None, growth: float = 1.0
) -> Replayed:
    """`day` served by `slots` slots. `growth`: with so many times as many tasks.

    Raises InvalidArgument for slots below 1 or growth that is not above 0.
    """
    if not 1 <= slots <= SLOTS_MAX:
        raise InvalidArgument(f"slots are a whole number from 1 to {SLOTS_MAX:,}, not {slots!r}")
    if not 0 < growth <= GROWTH_MAX:
        raise InvalidArgument(f"growth is a number above 0, at most {GROWTH_MAX:g}, not {growth!r}")
    promise = promise or Promise()
    seconds = day[-1].at_s + day[-1].seconds if day else 0.0
    total = sum(round(one.arrivals * growth) for one in day)
    lump = max(1, math.ceil(total / TASKS_MAX))
    whole = Sketch()
    for one in day:
        whole.merge(one.service or Sketch())
    if total and not whole.count:
        return Replayed(slots, total, seconds, promise, lump=lump)
    waits, busy_s, longest_s, late, tasks = Sketch(), 0.0, 0.0, 0, 0
    free = [0.0] * min(slots, max(1, total))  # more slots than tasks change nothing
    starts: deque[float] = deque()  # of those that still wait
    waiting_max, end_s = 0, seconds
    for at_s, service_s in _tasks(day, whole, rng, growth, lump):
        while starts and starts[0] <= at_s:
            starts.popleft()
        start_s = max(at_s, free[0])
        heapq.heapreplace(free, start_s + service_s)
        if start_s > at_s:
            starts.append(start_s)
            waiting_max = max(waiting_max, len(starts))
        waits.add(start_s - at_s)
        longest_s = max(longest_s, start_s - at_s)
        late += start_s - at_s > promise.target_s
        busy_s += service_s
        end_s = max(end_s, start_s + service_s)
        tasks += 1

    def told(part: float) -> float | None:
        value = waits.quantile(part)
        # The lowest bin stands for no wait at all; a bin's middle may lie above the longest.
        return None if value is None else 0.0 if value <= 2e-6 else min(value, longest_s)

    return Replayed(
        slots=slots,
        tasks=total,
        seconds=seconds,
        promise=promise,
        service_s=busy_s / tasks / lump if tasks else None,
        wait_p50_s=told(0.5),
        wait_p95_s=told(0.95),
        wait_p99_s=told(0.99),
        wait_max_s=longest_s if tasks else None,
        kept=1 - late / tasks if tasks else None,
        utilisation=busy_s / (slots * end_s) if end_s else 0.0,
        waiting_max=waiting_max * lump,
        drain_s=end_s - seconds,
        lump=lump,
    )


def _tasks(
    day: Sequence[Stretch], whole: Sketch, rng: Random, growth: float, lump: int
) -> Iterator[tuple[float, float]]:
    """When each task comes and how long it takes, in the order in which they come. `whole`: the times of all day."""
    kept = 0  # of a lump that is not full yet
    for one in day:
        number = round(one.arrivals * growth) + kept
        number, kept = number // lump, number % lump
        if not number:
            continue
        # Of a stretch whose own times cannot be read, those of all day.
        service = one.service if one.service is not None and one.service.count else whole
        bins = sorted(service.bins.items())
        values = [value_of(bin_number) * lump for bin_number, _ in bins]
        times = rng.choices(values, cum_weights=list(accumulate(count for _, count in bins)), k=number)
        arrivals = sorted(one.at_s + rng.random() * one.seconds for _ in range(number))
        yield from zip(arrivals, times, strict=True)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
