"""How the whole stands, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.domain.task import Task, TaskFilter
from prismq.observability.health import Health, Limits
from prismq.observability.window import HOUR_S, Window, ended_between, window_of
from prismq.server.views.causes import Cause, grouped
from prismq.server.views.drawing import Bar, Chart, bars
from prismq.server.views.history import (
    History,
    Mark,
    Range,
    failures,
    marks_of,
    percentiles,
    throughput,
)
from prismq.storage.contract import QueueInfo

_RUNNING_SHOWN = 8
_FAILURES_LOOKED_AT = 200
_CAUSES_SHOWN = 6
_QUEUES_SHOWN = 12
_MARKS_SHOWN = 6
_TONES = (("queued", "accent"), ("scheduled", "wait"), ("claimed", "run"), ("processing", "run"))


@dataclass(frozen=True)
class Age:
    """How long the oldest ready task of a queue has waited, against what is fine."""

    queue: str
    ready: int
    oldest_s: float | None
    part: float  # of the limit, at most 1
    paused: bool


@dataclass(frozen=True)
class Overview:
    """The page."""

    health: Health
    span: Range
    queue: str | None
    queues: Sequence[str]
    hour: Window
    waiting: int
    running: int
    scheduled: int
    oldest_s: float | None
    live_bars: Sequence[Bar]
    charts: Sequence[Chart]
    marks: Sequence[Mark]
    ages: Sequence[Age]
    more_ages: int
    now_running: Sequence[Task]
    causes: Sequence[Cause]
    limit_s: float
    at: float

    @property
    def is_new(self) -> bool:
        """Whether nobody has used the queue yet."""
        return not self.health.facts.known.depth and not self.health.workers


def overview(q: PrismQ, history: History, health: Health, span: Range, queue: str | None) -> Overview:
    """Everything that the page shows, read at about one moment; `queue`: of this queue alone.

    Raises QueueDatabaseError where the store cannot be read.
    """
    store, now = q.store, q.clock.now()
    standing = health.facts.standing or store.standing(now)
    infos = standing.queues
    chosen = [one for one in infos if queue is None or one.queue == queue]
    slots = history.slots(store, span, now)
    marks = marks_of(standing.workers, slots[0].at, now)
    places = [one.at for one in marks]
    ended = ended_between(store.insight, now - HOUR_S, now)
    hour = window_of((one for one in ended if queue is None or one.queue == queue), HOUR_S)
    limit_s = Limits().oldest_ready_s
    ages = sorted(
        (_age(one, limit_s) for one in chosen), key=lambda one: (-(one.oldest_s or -1), -one.ready, one.queue)
    )
    sums = {status: sum(one.depth.get(status, 0) for one in chosen) for status, _ in _TONES}
    running = store.tasks.find(TaskFilter(statuses=("claimed", "processing"), queue=queue), limit=_RUNNING_SHOWN)
    failed = store.tasks.newest_failures(queue=queue, limit=_FAILURES_LOOKED_AT)
    waits = [one.oldest_s for one in ages if one.oldest_s is not None and not one.paused]
    return Overview(
        health=health,
        span=span,
        queue=queue,
        queues=[one.queue for one in infos],
        hour=hour,
        waiting=sums["queued"],
        running=sums["claimed"] + sums["processing"],
        scheduled=sums["scheduled"],
        oldest_s=max(waits, default=None),
        live_bars=bars([(sums[status], tone, f"{sums[status]:,} {status}") for status, tone in _TONES], least=0.004),
        charts=[
            throughput(slots, span, places, queue),
            failures(slots, span, places, queue),
            percentiles("wait", "Waiting time", slots, places, queue),
            percentiles("run", "Running time", slots, places, queue),
        ],
        marks=marks[-_MARKS_SHOWN:],
        ages=ages[:_QUEUES_SHOWN],
        more_ages=max(0, len(ages) - _QUEUES_SHOWN),
        now_running=running,
        causes=grouped(failed)[:_CAUSES_SHOWN],
        limit_s=limit_s,
        at=now,
    )


def _age(one: QueueInfo, limit_s: float) -> Age:
    part = min(1.0, (one.oldest_ready_s or 0.0) / limit_s)
    return Age(one.queue, one.depth.get("queued", 0), one.oldest_ready_s, part, one.paused_at is not None)
