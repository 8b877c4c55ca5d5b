"""Scaling: how many slots the queues need, for people and for autoscalers, and a day replayed with other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from random import Random
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from prismq.app import PrismQ
from prismq.domain.promise import DEFAULT_PART, DEFAULT_TARGET_S, TARGET_S_MAX, Promise
from prismq.domain.sizing import SLOTS_MAX
from prismq.observability.scaling.advice import advise
from prismq.observability.scaling.known import no_queue
from prismq.observability.scaling.simulator import DAY_S, GROWTH_MAX, SECONDS_MAX, STEP_S, day_of, replay
from prismq.server.dependencies import Serving, Viewer
from prismq.server.problems import Problem
from prismq.server.routes.shapes import Name, problems
from prismq.server.services import Services

router = APIRouter(prefix="/api/v1/scaling", tags=["scaling"])

SIZES_MAX = 10

Target = Annotated[
    float,
    Query(
        gt=0,
        le=TARGET_S_MAX,
        description="Seconds that queues promise of which neither the settings nor their names say it.",
    ),
]
Within = Annotated[
    float, Query(gt=0, le=TARGET_S_MAX, description="Seconds of waiting that part_within_target counts.")
]
Part = Annotated[float, Query(ge=0.5, le=0.9999, description="The part of the tasks that the promise is for.")]
Queues = Annotated[list[Name], Query(max_length=100, description="These queues; again for more, none for every queue.")]


class Advice(BaseModel):
    """What a queue needs, or several together on the same slots. Figures that are infinite or not known are null."""

    queues: list[str]
    verdict: str = Field(description="more, fewer, enough, or unknown.", examples=["more"])
    sentence: str = Field(description="The same in words, with the figures that it is made of.")
    slots_wanted: int = Field(
        description="The slots that hold the promise and catch up with what waits.", examples=[12]
    )
    slots_now: int = Field(description="Those of live workers that serve it; they may serve others, too.")
    busy_now: int
    target_wait_seconds: float
    target_part: float
    target_from: str = Field(description="name: the queue's name says so; setting: the settings do, or the default.")
    arrivals_per_second: float = Field(description="Attempts, retries among them.")
    service_seconds: float | None = Field(description="The mean of one attempt.")
    variability: float = Field(description="(1 + cs²) / 2 of the service times: 1 where they are exponential.")
    load_slots: float = Field(description="Slots that are busy on average (Little's law).")
    slots_floor: int = Field(description="Fewer cannot keep up.")
    slots_steady: int = Field(description="Hold the promise as long as the rate stays (M/M/c).")
    slots_to_catch_up: int = Field(description="Have what waits gone in time.")
    utilization: float | None = Field(description="Load by present slots; above 1 they cannot keep up.")
    keeps_up: bool
    wait_seconds: float | None = Field(description="With the present slots, by the formula.")
    drain_seconds: float | None = Field(description="Until what waits is gone, with the present slots.")
    waiting: int
    running: int
    oldest_ready_seconds: float | None


class QueueAdvice(Advice):
    """Advice for one queue."""

    queue: str


class Scaling(BaseModel):
    """The advice now."""

    at: datetime
    queues: list[QueueAdvice]
    together: Advice = Field(description="All of them, served by the same slots.")


class Wanted(BaseModel):
    """Numbers for an autoscaler: KEDA's metrics-api scaler reads `slots_wanted`, and divides it by a pod's slots."""

    queues: list[str]
    slots_wanted: int = Field(examples=[12])
    slots_now: int
    waiting: int
    running: int
    oldest_ready_seconds: float = Field(description="0 where nothing is ready.")


class Replay(BaseModel):
    """What the day would have been like with so many slots. Waits are null where nothing came; where tasks came and
    none ended, so is every figure that depends on how long one takes."""

    slots: int
    tasks: int
    seconds: float
    target_wait_seconds: float
    target_part: float
    service_seconds: float | None = Field(
        description="The mean of one attempt; null where none came, or none ended that could be measured."
    )
    wait_p50_seconds: float | None
    wait_p95_seconds: float | None
    wait_p99_seconds: float | None
    wait_max_seconds: float | None
    part_within_target: float | None
    utilization: float | None
    waiting_max: int | None
    drain_seconds: float | None = Field(description="From the end of the day until the last task was done.")
    lump: int = Field(description="Tasks that each simulated one stands for; above 1, waits are told too long.")


class Replays(BaseModel):
    """One replay for each size."""

    items: list[Replay]


@router.get("", summary="Scaling advice", response_model=Scaling, responses=problems())
async def scaling(
    who: Viewer, serving: Serving, target_seconds: Target = DEFAULT_TARGET_S, part: Part = DEFAULT_PART
) -> Scaling:
    """For each queue that is not paused, and for all of them on the same slots."""
    default = Promise(target_seconds, part)
    promises = serving.slo.promises
    found = await serving.ask(lambda q: advise(q.store, q.clock.now(), default=default, promises=promises))
    return Scaling.model_validate(found.to_dict())


@router.get("/slots", summary="Slots wanted, for autoscalers", response_model=Wanted, responses=problems(404))
async def slots(
    who: Viewer,
    serving: Serving,
    queue: Queues = [],  # noqa: B006 - FastAPI copies it
    target_seconds: Target = DEFAULT_TARGET_S,
    part: Part = DEFAULT_PART,
) -> Wanted:
    """Of all queues, or of those named, served together. At least 1: a queue at rest wants a worker that listens.

    404 where one of them is no queue: it never had a task, and no worker, schedule or setting names it.
    """
    default = Promise(target_seconds, part)

    def find(q: PrismQ) -> Wanted:
        now = q.clock.now()
        _refuse_unknown(q, serving, queue)
        promises = serving.slo.promises
        found = advise(q.store, now, default=default, promises=promises, queues=queue or None).all
        return Wanted(
            queues=list(found.queues),
            slots_wanted=found.size.slots,
            slots_now=found.slots_now,
            waiting=found.demand.waiting,
            running=found.demand.running,
            oldest_ready_seconds=found.demand.oldest_s or 0.0,
        )

    return await serving.ask(find)


def _refuse_unknown(q: PrismQ, services: Services, queues: Sequence[str]) -> None:
    nothing = no_queue(q.store, q.clock.now(), queues, services.queues_named) if queues else None
    if nothing is not None:
        raise Problem(404, f"{nothing} It is there once it has a task, or a worker is started with --queues")


@router.get("/simulation", summary="Replay a day with other sizes", response_model=Replays, responses=problems(404))
async def simulation(
    who: Viewer,
    serving: Serving,
    slots: Annotated[
        list[Annotated[int, Field(ge=1, le=SLOTS_MAX)]],
        Query(min_length=1, max_length=SIZES_MAX, description="How many slots; again for other sizes."),
    ],
    queue: Queues = [],  # noqa: B006 - FastAPI copies it
    seconds: Annotated[
        float, Query(ge=STEP_S, le=SECONDS_MAX, description="How far back to look, at most a week.")
    ] = DAY_S,
    growth: Annotated[float, Query(gt=0, le=GROWTH_MAX, description="So many times as many tasks.")] = 1.0,
    target_seconds: Within = DEFAULT_TARGET_S,
    part: Part = DEFAULT_PART,
    seed: Annotated[int, Query(ge=0, le=2**31, description="Of the random arrivals.")] = 0,
) -> Replays:
    """The tasks that came, when they came, with the times that they took, on slots that serve them in order."""
    promise = Promise(target_seconds, part)

    def find(q: PrismQ) -> Replays:
        _refuse_unknown(q, serving, queue)
        day = day_of(q.store, q.clock.now(), seconds=seconds, queues=queue or None)
        found = [
            replay(day, size, Random(seed), promise=promise, growth=growth)  # noqa: S311 - a simulation, to be repeated
            for size in slots
        ]
        return Replays(items=[Replay.model_validate(one.to_dict()) for one in found])

    return await serving.ask(find)
