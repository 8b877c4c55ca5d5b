"""Advice for each queue, and for all that share their slots: is what serves it enough, and what would be?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from prismq.domain.promise import NONE_GIVEN, Promise, Promises, named_promise_s, promise_of, strictest
from prismq.domain.sizing import Demand, Size, drain_s, size_for, together, wait_with
from prismq.domain.times import from_epoch
from prismq.domain.words import duration, plural
from prismq.observability.condition import WorkerView, views
from prismq.storage.contract import Store
from prismq.storage.demand import demands

# Fewer than the present slots are advised only where this part of them would be enough: below that it is noise.
SPARE_PART = 0.7


@dataclass(frozen=True)
class Advice:
    """What is advised for a queue, or for several that are served by the same slots.

    `slots_now`: those of live workers that serve it, which may serve others, too. `wait_now_s`: what the promise's part
    of the tasks will not wait longer than with them, infinite where they cannot keep up, None where no service time is
    known; `drain_now_s` likewise for the backlog.
    """

    queues: tuple[str, ...]
    promise: Promise
    promised_by: str  # name, or setting
    demand: Demand
    size: Size
    slots_now: int
    busy_now: int
    wait_now_s: float | None
    drain_now_s: float | None

    @property
    def verdict(self) -> str:
        """`more`, `fewer`, `enough`, or `unknown` where nothing ended lately that could be measured."""
        if self.demand.service_s is None and not self.demand.waiting:
            return "unknown"
        if self.size.slots > self.slots_now:
            return "more"
        return "fewer" if self.slots_now > 1 and self.size.slots <= self.slots_now * SPARE_PART else "enough"

    @property
    def utilisation(self) -> float | None:
        """The part of the present slots that the present rate keeps busy; above 1 they cannot keep up."""
        return self.demand.load / self.slots_now if self.slots_now else None

    @property
    def sentence(self) -> str:
        """What to do, and why, in words."""
        if self.demand.service_s is None and not (self.demand.waiting or self.demand.running):
            return "Nothing ran in the last day, so there is nothing to measure."
        if self.demand.service_s is None:
            return (
                f"{plural(self.demand.waiting, 'task')} waiting, {self.demand.running:,} running, and none has ended "
                f"that could be measured; {plural(self.size.slots, 'slot')} for now."
            )
        target = f"{self.promise.part * 100:.4g} % within {duration(self.promise.target_s)}"
        wanted = f"{plural(self.size.slots, 'slot')} for {target}"
        figures = (
            f"{few(self.demand.arrivals_per_s)} tasks/s of {duration(self.demand.service_s)} keep "
            f"{few(self.demand.load)} slots busy"
        )
        if self.demand.waiting:
            figures += f", {plural(self.demand.waiting, 'task')} waiting"
        has = "none serves it" if not self.slots_now else f"{self.slots_now:,} serve it"
        advice = {"more": "add slots", "fewer": "fewer would do", "enough": "that is enough"}[self.verdict]
        return f"{figures}: {wanted}; {has}, {advice}."

    def to_dict(self) -> dict[str, Any]:
        """For programs; None where a figure is infinite or not known, and `keeps_up` tells which."""
        return {
            "queues": list(self.queues),
            "verdict": self.verdict,
            "sentence": self.sentence,
            "slots_wanted": self.size.slots,
            "slots_now": self.slots_now,
            "busy_now": self.busy_now,
            "target_wait_seconds": self.promise.target_s,
            "target_part": self.promise.part,
            "target_from": self.promised_by,
            "arrivals_per_second": round(self.demand.arrivals_per_s, 6),
            "service_seconds": _rounded(self.demand.service_s),
            "variability": round(self.demand.variability, 4),
            "load_slots": round(self.demand.load, 4),
            "slots_floor": self.size.floor,
            "slots_steady": self.size.steady,
            "slots_to_catch_up": self.size.catch_up,
            "utilization": _rounded(self.utilisation),
            "keeps_up": self.slots_now > self.demand.load if self.demand.load else True,
            "wait_seconds": _rounded(self.wait_now_s),
            "drain_seconds": _rounded(self.drain_now_s),
            "waiting": self.demand.waiting,
            "running": self.demand.running,
            "oldest_ready_seconds": _rounded(self.demand.oldest_s),
        }


@dataclass(frozen=True)
class Report:
    """The advice at one time: for each queue by itself, and for all together on slots that serve all of them.

    Slots that are shared need fewer than the sum of the queues', because not all are busy at once.
    """

    at: float  # seconds since 1970
    queues: tuple[Advice, ...]
    all: Advice

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "at": from_epoch(self.at).isoformat(),
            "queues": [{"queue": one.queues[0], **one.to_dict()} for one in self.queues],
            "together": self.all.to_dict(),
        }


def advise(
    store: Store,
    now: float,
    *,
    default: Promise | None = None,
    promises: Promises = NONE_GIVEN,
    queues: Collection[str] | None = None,
) -> Report:
    """Advice for every queue that is not paused, or for `queues`. `promises`: what the settings say of single queues;
    `default`: what those promise of which neither the settings nor their name say it. Raises QueueDatabaseError."""
    default = default or Promise()
    crew = [one for one in views(store.workers.all(), (), (), now) if one.working]
    found = demands(store, now, queues=queues)
    by_queue = {name: promise_of(name, default, promises) for name in found}
    named = {name for name in found if name not in promises and named_promise_s(name) is not None}
    each = tuple(_advice((name,), demand, crew, by_queue[name], named=name in named) for name, demand in found.items())
    all_ = strictest(by_queue.values(), default)
    all_named = any(by_queue[name].target_s == all_.target_s for name in named)
    return Report(now, each, _advice(tuple(found), together(found.values()), crew, all_, named=all_named))


def _advice(
    names: tuple[str, ...], demand: Demand, crew: Iterable[WorkerView], promise: Promise, *, named: bool
) -> Advice:
    serving = [one for one in crew if not names or any(one.serves_queue(name) for name in names)]
    slots = sum(one.worker.slots for one in serving)
    return Advice(
        names,
        promise,
        "name" if named else "setting",
        demand,
        size_for(demand, promise),
        slots,
        sum(one.worker.busy for one in serving),
        wait_with(slots, demand, promise),
        drain_s(slots, demand),
    )


def few(number: float) -> str:
    """A rate or a load for people."""
    return "< 0.01" if 0 < number < 0.01 else f"{number:.3g}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
