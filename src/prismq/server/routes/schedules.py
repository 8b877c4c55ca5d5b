"""Schedules: the periodic tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from prismq.domain.cron import CronSchedule
from prismq.domain.errors import InvalidCron
from prismq.domain.redaction import Redactor
from prismq.server.actions import Acting
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.routes.shapes import Name, Saved, cleaned, moment, problems, value_of
from prismq.server.routes.tasks import Enqueued
from prismq.storage.contract import Schedule as Kept

router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])

ScheduleName = Annotated[Name, Path(description="The schedule's name.", examples=["nightly"])]


class Schedule(BaseModel):
    """A periodic task."""

    schedule: str = Field(examples=["nightly"])
    expression: str = Field(examples=["0 3 * * *"])
    timezone: str = Field(examples=["Europe/Prague"])
    description: str | None = Field(description="The expression in words.", examples=["at 03:00"])
    missed: str = Field(description="What becomes of times that passed while nothing ran.", examples=["latest"])
    type: str
    queue: str
    payload: Any
    last_run_at: datetime | None
    last_task_id: int | None
    next_run_at: datetime | None
    paused: bool
    paused_at: datetime | None
    error: str | None = Field(description="Why its expression cannot be read; null where it can.")


class Schedules(BaseModel):
    """Every schedule, by name."""

    items: list[Schedule]


def schedule_of(one: Kept, now: float, redactor: Redactor) -> Schedule:
    """A schedule for the API."""
    description, next_run, error = None, None, None
    try:
        cron = CronSchedule.parse(one.expression, one.timezone)
        description, next_run = cron.describe(), cron.next_after(now)
    except InvalidCron as problem:  # written by hand, or by a version that could read it
        error = str(problem)
    return Schedule(
        schedule=one.name,
        expression=one.expression,
        timezone=one.timezone,
        description=description,
        missed=one.missed,
        type=one.template.type,
        queue=one.template.queue,
        payload=cleaned(value_of(one.template.payload), redactor),
        last_run_at=moment(one.last_slot if one.last_task_id is not None else None),
        last_task_id=one.last_task_id,
        next_run_at=None if one.paused_at is not None else moment(next_run),
        paused=one.paused_at is not None,
        paused_at=moment(one.paused_at),
        error=error,
    )


@router.get("", summary="List schedules", response_model=Schedules, responses=problems())
async def list_schedules(who: Viewer, serving: Serving) -> Schedules:
    """By name."""
    return Schedules(
        items=await serving.ask(
            lambda q: [schedule_of(one, q.clock.now(), q.redactor) for one in q.store.schedules.all()]
        )
    )


@router.post("/{name}/pause", summary="Pause a schedule", response_model=Saved, responses=problems(404))
async def pause(name: ScheduleName, who: Operator, acting: Acting) -> Saved:
    """Its times pass until it is resumed."""
    await acting(lambda actor: actor.pause_schedule(name, paused=True))
    return Saved(done=True)


@router.post("/{name}/resume", summary="Resume a schedule", response_model=Saved, responses=problems(404))
async def resume(name: ScheduleName, who: Operator, acting: Acting) -> Saved:
    """From its next time on."""
    await acting(lambda actor: actor.pause_schedule(name, paused=False))
    return Saved(done=True)


@router.post(
    "/{name}/run", status_code=201, summary="Run a schedule now", response_model=Enqueued, responses=problems(404)
)
async def run(name: ScheduleName, who: Operator, acting: Acting) -> Enqueued:
    """Enqueue its task beside its times: the next one comes as it would."""
    done = await acting(lambda actor: actor.run_schedule(name))
    return Enqueued(id=done.task_id, created=done.created)


@router.delete("/{name}", summary="Remove a schedule", response_model=Saved, responses=problems(404))
async def remove(name: ScheduleName, who: Operator, acting: Acting) -> Saved:
    """Code that still declares it brings it back when a worker starts."""
    await acting(lambda actor: actor.remove_schedule(name))
    return Saved(done=True)
