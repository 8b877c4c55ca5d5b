"""The queues: depth, age, rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.observability.condition import crew_of, running_of
from prismq.server.views.drawing import Bar, Chart, Spark, bars
from prismq.server.views.history import (
    FAILED,
    RANGES,
    History,
    Range,
    Slot,
    failures,
    marks_of,
    percentiles,
    throughput,
)
from prismq.storage.contract import QueueInfo, Standing

_LAST = RANGES[1]  # the hour that the lines and the rates are of
_RATE_SLOTS = 5
_TONES = (("queued", "accent"), ("scheduled", "wait"), ("claimed", "run"), ("processing", "run"))


@dataclass(frozen=True)
class QueueRow:
    """A queue as the table shows it. Rates are tasks a minute over the last five; `slots` are those that serve it."""

    info: QueueInfo
    running: int
    slots: int
    busy: int
    in_rate: float
    out_rate: float
    failed_hour: int
    spark: Spark
    bars: Sequence[Bar]

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.queue

    @property
    def drain_s(self) -> float | None:
        """Seconds until what is ready is done, at the pace of the last minutes; None where that is no measure."""
        ready = self.info.depth.get("queued", 0)
        gain = self.out_rate - self.in_rate
        return ready / gain * 60 if ready and gain > 0 else None

    @property
    def utilisation(self) -> float | None:
        """The part of the slots that serve it which is busy, with whatever; None where nobody serves it."""
        return self.busy / self.slots if self.slots else None


@dataclass(frozen=True)
class QueuesPage:
    """The table."""

    rows: Sequence[QueueRow]
    at: float


def queues_page(q: PrismQ, history: History, standing: Standing) -> QueuesPage:
    """All queues, as they stand. Raises QueueDatabaseError."""
    slots = history.slots(q.store, _LAST, standing.at)
    served = _served(standing)
    return QueuesPage([_row(one, slots, *served[one.queue]) for one in standing.queues], standing.at)


def _served(standing: Standing) -> Mapping[str, tuple[int, int]]:
    crew = [one for one in crew_of(standing) if one.working]
    return {
        info.queue: (
            sum(one.worker.slots for one in crew if one.serves_queue(info.queue)),
            sum(one.worker.busy for one in crew if one.serves_queue(info.queue)),
        )
        for info in standing.queues
    }


def _row(info: QueueInfo, slots: Sequence[Slot], offered: int, busy: int) -> QueueRow:
    name = info.queue
    # The minute that runs is not over, and would read as a fall.
    ended = slots[:-1]
    lately = ended[-_RATE_SLOTS:]
    done = [float(slot.count(["completed"], name)) for slot in ended]
    return QueueRow(
        info=info,
        running=running_of(info),
        slots=offered,
        busy=busy,
        in_rate=sum(slot.count(["enqueued"], name) for slot in lately) / len(lately),
        out_rate=sum(slot.count(["completed", *FAILED], name) for slot in lately) / len(lately),
        failed_hour=sum(slot.count(FAILED, name) for slot in slots),
        spark=Spark(done, "good", f"{sum(done):,.0f} completed in the last hour"),
        bars=bars([(info.depth.get(status, 0), tone, status) for status, tone in _TONES], least=0.01),
    )


@dataclass(frozen=True)
class QueuePage:
    """One queue."""

    row: QueueRow
    types: Sequence[tuple[str, Mapping[str, int]]]
    charts: Sequence[Chart]
    span: Range
    at: float


def queue_page(q: PrismQ, history: History, name: str, span: Range) -> QueuePage | None:
    """One queue; None where it holds no task and no setting. Raises QueueDatabaseError."""
    now = q.clock.now()
    standing = q.store.standing(now)
    info = next((one for one in standing.queues if one.queue == name), None)
    if info is None:
        return None
    types: dict[str, dict[str, int]] = {}
    for (queue, type_, status, _), tasks in standing.depth.items():
        if queue == name:
            counts = types.setdefault(type_, {})
            counts[status] = counts.get(status, 0) + tasks
    slots = history.slots(q.store, span, now)
    places = [one.at for one in marks_of(standing.workers, slots[0].at, now)]
    return QueuePage(
        _row(info, history.slots(q.store, _LAST, now), *_served(standing)[name]),
        sorted(types.items(), key=lambda item: (-sum(item[1].values()), item[0])),
        [
            throughput(slots, span, places, name),
            failures(slots, span, places, name),
            percentiles("wait", "Waiting time", slots, places, name),
            percentiles("run", "Running time", slots, places, name),
        ],
        span,
        now,
    )
