"""Figures for dashboards: what there is, how fast it goes, what fails."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from prismq.app import PrismQ
from prismq.domain.status import TaskStatus
from prismq.domain.times import from_epoch
from prismq.observability.window import HOUR_S, Window, ended_between, window_of
from prismq.server.crew import views_of
from prismq.server.dependencies import Serving, Viewer
from prismq.server.routes.shapes import Name, problems
from prismq.server.views.causes import grouped
from prismq.server.views.history import FAILED, range_of

router = APIRouter(prefix="/api/v1", tags=["figures"])

_FAILURES_LOOKED_AT = 500
_BANDS = ("high", "normal", "low")


class Rates(BaseModel):
    """How many tasks came and ended in a stretch of time."""

    seconds: float
    enqueued: int
    completed: int
    failed: int = Field(description="Failed for good, dead letters among them.")
    retried: int
    submission_per_minute: float
    completion_per_minute: float
    failure_rate: float = Field(description="Failed of those that ended, 0 to 1.")
    mean_run_seconds: float | None
    p50_run_seconds: float | None
    p95_run_seconds: float | None
    p95_wait_seconds: float | None


class Crew(BaseModel):
    """The workers, summed up."""

    live: int
    taking_tasks: int
    slots: int
    busy: int
    utilization_percent: float | None


class Stats(BaseModel):
    """The whole queue at one time: is it growing, and why?"""

    at: datetime
    depth: dict[str, int] = Field(description="How many tasks have each status.", examples=[{"queued": 3}])
    oldest_ready_seconds: float | None
    last_minute: Rates
    last_hour: Rates
    last_24_hours: Rates
    growing: bool = Field(description="Whether more came in the last hour than ended.")
    workers: Crew


class DepthNow(BaseModel):
    """How many tasks there are, from every side."""

    at: datetime
    total: int
    by_status: dict[str, int]
    by_priority: dict[str, dict[str, int]] = Field(
        description="high (below 100), normal (100), low (above 100), each by status."
    )
    by_queue: dict[str, dict[str, int]]
    by_type: dict[str, dict[str, int]]


class TrendPoint(BaseModel):
    """A slot of time."""

    at: datetime
    enqueued: int
    completed: int
    failed: int
    retried: int
    lost: int = Field(description="Attempts that ended with their worker.")
    cancelled: int
    p50_run_seconds: float | None
    p95_run_seconds: float | None
    p99_run_seconds: float | None
    p95_wait_seconds: float | None


class FailurePattern(BaseModel):
    """Tasks that failed alike."""

    cause: str = Field(description="The error without what varies.", examples=["ConnectionError: … refused"])
    type: str
    queue: str
    tasks: int
    newest_task_id: int
    last_at: datetime | None


class Trends(BaseModel):
    """What happened over time."""

    since: datetime
    until: datetime
    step_seconds: float
    points: list[TrendPoint] = Field(description="Oldest first; the last one is not over.")
    failure_patterns: list[FailurePattern] = Field(description="Of the newest 500 failures that are kept.")


def _rates(window: Window) -> Rates:
    minutes = window.seconds / 60
    enqueued = window.counts.get("enqueued", 0)
    return Rates(
        seconds=window.seconds,
        enqueued=enqueued,
        completed=window.completed,
        failed=window.failed,
        retried=window.counts.get("retried", 0),
        submission_per_minute=enqueued / minutes,
        completion_per_minute=window.completed / minutes,
        failure_rate=window.failure_rate,
        mean_run_seconds=window.mean_run_s,
        p50_run_seconds=window.p50_run_s,
        p95_run_seconds=window.p95_run_s,
        p95_wait_seconds=window.p95_wait_s,
    )


def stats_of(q: PrismQ) -> Stats:
    """The whole queue now."""
    now, store = q.clock.now(), q.store
    minute, hour, day = (
        _rates(window_of(ended_between(store.insight, max(0.0, now - seconds), now), seconds))
        for seconds in (60.0, HOUR_S, 24 * HOUR_S)
    )
    depth: Counter[str] = Counter()
    for (_, _, status, _), tasks in store.insight.depth().items():
        depth[status] += tasks
    live = [one for one in views_of(q) if one.live]
    slots, busy = sum(one.worker.slots for one in live), sum(one.worker.busy for one in live)
    return Stats(
        at=from_epoch(now),
        depth={status.value: depth[status.value] for status in TaskStatus},
        oldest_ready_seconds=store.insight.oldest_ready_s(now),
        last_minute=minute,
        last_hour=hour,
        last_24_hours=day,
        growing=hour.enqueued > hour.completed + hour.failed,
        workers=Crew(
            live=len(live),
            taking_tasks=sum(one.working for one in live),
            slots=slots,
            busy=busy,
            utilization_percent=round(100 * busy / slots, 1) if slots else None,
        ),
    )


def _depth_of(q: PrismQ) -> DepthNow:
    by_status: Counter[str] = Counter()
    by_band: dict[str, Counter[str]] = {band: Counter() for band in _BANDS}
    by_queue: dict[str, Counter[str]] = {}
    by_type: dict[str, Counter[str]] = {}
    for (queue, type_, status, band), tasks in q.store.insight.depth().items():
        if not tasks:
            continue
        by_status[status] += tasks
        by_band.setdefault(band, Counter())[status] += tasks
        by_queue.setdefault(queue, Counter())[status] += tasks
        by_type.setdefault(type_, Counter())[status] += tasks
    return DepthNow(
        at=from_epoch(q.clock.now()),
        total=sum(by_status.values()),
        by_status=dict(by_status),
        by_priority={band: dict(counts) for band, counts in by_band.items()},
        by_queue={queue: dict(counts) for queue, counts in sorted(by_queue.items())},
        by_type={type_: dict(counts) for type_, counts in sorted(by_type.items())},
    )


@router.get("/dashboard/stats", summary="The whole queue", response_model=Stats, responses=problems())
async def stats(who: Viewer, serving: Serving) -> Stats:
    """Submission against completion, and who works."""
    return await serving.ask(stats_of)


@router.get("/dashboard/queue-depth", summary="Depth", response_model=DepthNow, responses=problems())
async def queue_depth(who: Viewer, serving: Serving) -> DepthNow:
    """By priority, status, queue and type. From the books: as quick at ten million tasks as at ten."""
    return await serving.ask(_depth_of)


@router.get("/analytics/trends", summary="Trends", response_model=Trends, responses=problems())
async def trends(
    who: Viewer,
    serving: Serving,
    range: Annotated[  # noqa: A002 - it is called so
        Literal["15m", "1h", "6h", "24h", "7d", "30d", "13mo"], Query(description="How far back to look.")
    ] = "24h",
    queue: Annotated[Name | None, Query(description="Of this queue alone.")] = None,
) -> Trends:
    """What came and ended over time, and what failures have in common."""

    def find(q: PrismQ) -> Trends:
        now, span = q.clock.now(), range_of(range)
        slots = serving.history.slots(q.store, span, now)
        points = []
        for slot in slots:
            (p50_run, p95_run, p99_run), (_, p95_wait, _) = slot.quantiles("run", queue), slot.quantiles("wait", queue)
            points.append(
                TrendPoint(
                    at=from_epoch(slot.at),
                    enqueued=slot.count(("enqueued",), queue),
                    completed=slot.count(("completed",), queue),
                    failed=slot.count(FAILED, queue),
                    retried=slot.count(("retried",), queue),
                    lost=slot.count(("lost",), queue),
                    cancelled=slot.count(("cancelled",), queue),
                    p50_run_seconds=p50_run,
                    p95_run_seconds=p95_run,
                    p99_run_seconds=p99_run,
                    p95_wait_seconds=p95_wait,
                )
            )
        failed = q.store.tasks.newest_failures(queue=queue, limit=_FAILURES_LOOKED_AT)
        patterns = [
            FailurePattern(
                cause=one.text,
                type=one.type,
                queue=one.queue,
                tasks=one.tasks,
                newest_task_id=one.newest.id or 0,
                last_at=one.last_at,
            )
            for one in grouped(failed)
        ]
        return Trends(
            since=from_epoch(slots[0].at),
            until=from_epoch(now),
            step_seconds=span.step_s,
            points=points,
            failure_patterns=patterns,
        )

    return await serving.ask(find)
