"""What ended when, slot by slot, from the books. A slot that is over is read once and remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prismq.domain.sketch import Sketch
from prismq.domain.times import to_epoch
from prismq.domain.worker import Worker
from prismq.observability.window import ended_between
from prismq.server.views.drawing import Chart, Line
from prismq.storage.contract import Outcomes, Store

FAILED = ("failed", "dead_letter")
_SETTLED_S = 150.0  # since a slot ended: workers write their last minute within seconds, hands within a booking
_KEPT_S = 900.0  # what was ended by hand and counted late is seen after this at the latest
_MOMENT_S = 30.0
_SLOTS_MAX = 3_000  # a few hundred bytes for each queue in each


class Range(NamedTuple):
    """A stretch of time to look at, and how long its slots are. Both in seconds."""

    key: str
    label: str
    seconds: float
    step_s: float
    per: str  # what figures are told by

    @property
    def per_s(self) -> float:
        """The seconds that `per` stands for."""
        return {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}[self.per]


# Each step is a number of whole slots as the books still have them at that age (minutes for three hours, ten minutes
# for two weeks, then hours, days after 45): a slot that lies in two steps would count in both.
RANGES = (
    Range("15m", "15 minutes", 900, 60, "minute"),
    Range("1h", "1 hour", 3600, 60, "minute"),
    Range("6h", "6 hours", 21_600, 600, "minute"),
    Range("24h", "1 day", 86_400, 1200, "minute"),
    Range("7d", "1 week", 604_800, 7200, "hour"),
    Range("30d", "30 days", 2_592_000, 21_600, "hour"),
    Range("13mo", "13 months", 396 * 86_400, 3 * 86_400, "day"),
)
DEFAULT_RANGE = RANGES[1]


def range_of(key: str | None) -> Range:
    """The range of this key; the default for any other text."""
    return next((one for one in RANGES if one.key == key), DEFAULT_RANGE)


Quantiles = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Slot:
    """What ended between `at` and `at + step_s`, by queue."""

    at: float
    step_s: float
    counts: Mapping[str, Mapping[str, int]]
    wait: Mapping[str, Sketch]
    run: Mapping[str, Sketch]
    _quantiles: dict[tuple[str, str | None], Quantiles] = field(default_factory=dict, compare=False, repr=False)

    def count(self, outcomes: Iterable[str], queue: str | None = None) -> int:
        """How many ended so: of one queue or of all."""
        chosen = [self.counts.get(queue, {})] if queue is not None else list(self.counts.values())
        return sum(counts.get(outcome, 0) for counts in chosen for outcome in outcomes)

    def quantiles(self, of: str, queue: str | None = None) -> Quantiles:
        """p50, p95 and p99 of the waiting (`wait`) or running times (`run`) of what completed; worked out once."""
        found = self._quantiles.get((of, queue))
        if found is None:
            kept = self.wait if of == "wait" else self.run
            sketch = kept.get(queue, Sketch()) if queue is not None else Sketch()
            for one in kept.values() if queue is None else ():
                sketch.merge(one)
            found = sketch.quantile(0.5), sketch.quantile(0.95), sketch.quantile(0.99)
            self._quantiles[of, queue] = found
        return found


class History:
    """Slots of one store. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[float, float], tuple[float, Slot]] = OrderedDict()

    def slots(self, store: Store, span: Range, now: float) -> list[Slot]:
        """The slots of `span` until now, oldest first; the last one is not over. Raises QueueDatabaseError."""
        last = now - now % span.step_s
        number = round(span.seconds / span.step_s)
        return [self._slot(store, last - back * span.step_s, span.step_s, now) for back in range(number - 1, -1, -1)]

    def _slot(self, store: Store, at: float, step_s: float, now: float) -> Slot:
        key = (at, step_s)
        with self._lock:
            found = self._slots.get(key)
            if found is not None and now < found[0]:
                return found[1]
        # The slots of the books that both ends fall into belong to the window.
        slot = _summed(at, step_s, ended_between(store.insight, at, at + step_s - 1))
        # Of days, a moment is not seen on a chart; of minutes it is.
        kept_s = _KEPT_S if at + step_s + _SETTLED_S < now else min(_MOMENT_S, step_s / 100)
        with self._lock:
            self._slots[key] = (now + kept_s, slot)
            self._slots.move_to_end(key)
            while len(self._slots) > _SLOTS_MAX:
                self._slots.popitem(last=False)
        return slot


def _summed(at: float, step_s: float, outcomes: Iterable[Outcomes]) -> Slot:
    counts: dict[str, dict[str, int]] = {}
    wait: dict[str, list[str | None]] = {}
    run: dict[str, list[str | None]] = {}
    for one in outcomes:
        of_queue = counts.setdefault(one.queue, {})
        of_queue[one.outcome] = of_queue.get(one.outcome, 0) + one.tasks
        if one.outcome == "completed":
            wait.setdefault(one.queue, []).append(one.wait_bins)
            run.setdefault(one.queue, []).append(one.run_bins)
    waits, runs = ({queue: Sketch.merged(texts) for queue, texts in kept.items()} for kept in (wait, run))
    return Slot(at, step_s, counts, waits, runs)


class Mark(NamedTuple):
    """Something that happened to the workers, to be seen on the charts."""

    at: float
    text: str


def marks_of(workers: Iterable[Worker], since: float, until: float) -> list[Mark]:
    """Deploys (the first worker of a version that was not there before) and other starts, oldest first.

    Starts within a minute of each other are one mark.
    """
    started = sorted(
        (to_epoch(one.started_at_utc), one.version or "?", one.restarts)
        for one in workers
        if one.started_at_utc is not None
    )
    seen: set[str] = set()
    found: list[tuple[float, str | None, int]] = []
    for at, version, _ in started:
        is_new = version not in seen and bool(seen)
        seen.add(version)
        if not since <= at <= until:
            continue
        if found and at - found[-1][0] < 60:
            first, told, number = found[-1]
            found[-1] = (first, told or (version if is_new else None), number + 1)
        else:
            found.append((at, version if is_new else None, 1))
    return [
        Mark(
            at,
            f"deploy of {version}" if version else "a worker started" if number == 1 else f"{number} workers started",
        )
        for at, version, number in found
    ]


def throughput(slots: Sequence[Slot], span: Range, marks: Sequence[float], queue: str | None = None) -> Chart:
    """Completed and failed tasks by unit of time, and those that were enqueued."""
    unit = span.per_s / span.step_s
    return Chart(
        f"Throughput per {span.per}",
        "n",
        [slot.at for slot in slots],
        [
            Line("completed", "good", [slot.count(["completed"], queue) * unit for slot in slots], filled=True),
            Line("enqueued", "accent", [slot.count(["enqueued"], queue) * unit for slot in slots]),
        ],
        marks,
        empty="Nothing was enqueued or completed in this time.",
    )


def failures(slots: Sequence[Slot], span: Range, marks: Sequence[float], queue: str | None = None) -> Chart:
    """Failures for good, retries and lost workers by unit of time."""
    unit = span.per_s / span.step_s
    return Chart(
        f"Failures per {span.per}",
        "n",
        [slot.at for slot in slots],
        [
            Line("failed or dead-lettered", "bad", [slot.count(FAILED, queue) * unit for slot in slots], filled=True),
            Line("retried", "wait", [slot.count(["retried"], queue) * unit for slot in slots]),
            Line("lost with a worker", "mute", [slot.count(["lost"], queue) * unit for slot in slots]),
        ],
        marks,
        empty="Nothing failed in this time.",
    )


def percentiles(of: str, title: str, slots: Sequence[Slot], marks: Sequence[float], queue: str | None = None) -> Chart:
    """p50, p95 and p99 of waiting or running times, within 2 %."""
    found = [slot.quantiles(of, queue) for slot in slots]
    return Chart(
        title,
        "s",
        [slot.at for slot in slots],
        [
            Line("p99", "wait", [p99 for _, _, p99 in found]),
            Line("p95", "run", [p95 for _, p95, _ in found]),
            Line("p50", "good", [p50 for p50, _, _ in found]),
        ],
        marks,
        empty="Nothing completed in this time.",
    )
