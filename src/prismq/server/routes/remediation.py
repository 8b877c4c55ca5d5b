"""Remediation: what was put right without anybody's doing, and the breakers of task types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from prismq.observability.remediation.board import board, breaker_json
from prismq.observability.remediation.by_hand import FOR_S_MAX, stranger
from prismq.server.actions import Acting
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.routes.shapes import Input, Limit, Name, Saved, problems

router = APIRouter(prefix="/api/v1/remediation", tags=["remediation"])

TypeName = Annotated[Name, Path(description="The task type.", examples=["mail.send"])]


class BreakerOut(BaseModel):
    """The breaker of a task type."""

    type: str
    state: str = Field(description="closed, open, half_open (the next claim is a probe) or probing.", examples=["open"])
    since: datetime = Field(description="Of its state.")
    reason: str
    changed_by: str
    opened_at: datetime | None
    trips: int = Field(description="How often it opened in a row.")
    probe_at: datetime | None = Field(description="When it is tried next; null while open: when somebody closes it.")
    probe_task_id: int | None


class Opened(BreakerOut):
    """A breaker that somebody opened."""

    warning: str | None = Field(description="Where no task of this type was ever seen, and no worker knows it.")


class Total(BaseModel):
    """How often an act happened since the queue was made."""

    act: str = Field(examples=["reclaim"])
    times: int
    tasks: int
    last_at: datetime


class Act(BaseModel):
    """Something that was put right, or a breaker that somebody opened or closed."""

    id: int
    at: datetime
    act: str
    target: str | None = Field(description="A task's id, a type, a queue or a worker.")
    reason: str | None
    by: str
    tasks: int | None
    details: dict[str, Any]


class Remediation(BaseModel):
    """How it stands."""

    at: datetime
    breakers: list[BreakerOut] = Field(description="Those that keep tasks waiting first.")
    totals: list[Total]
    acts: list[Act] = Field(description="Newest first.")
    next_before_id: int | None = Field(description="Pass it as `before_id` for older acts; null at the end.")


class Opening(Input):
    """Why a breaker is opened, and for how long."""

    reason: str = Field("", max_length=500, description="For people.", examples=["the mail provider is down"])
    for_seconds: float | None = Field(
        None,
        gt=0,
        le=FOR_S_MAX,
        strict=True,
        description="Then one of its tasks is tried; null: until it is closed.",
        examples=[600],
    )


@router.get("", summary="Remediation", response_model=Remediation, responses=problems())
async def remediation(
    who: Viewer,
    serving: Serving,
    limit: Limit = 50,
    before_id: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Acts before this one.")] = None,
) -> Remediation:
    """Breakers, how often each act happened, and the last acts."""
    found = await serving.ask(lambda q: board(q.store, q.clock.now(), limit=limit, before_id=before_id))
    return Remediation.model_validate(found.to_dict())


@router.post("/breakers/{type_name}/open", summary="Open a breaker", response_model=Opened, responses=problems(415))
async def open_breaker(type_name: TypeName, how: Opening, who: Operator, serving: Serving, acting: Acting) -> Opened:
    """No task of the type is claimed any more; what runs goes on."""
    made = await acting(lambda actor: actor.open_breaker(type_name, how.reason, how.for_seconds))
    unknown = await serving.ask(lambda q: stranger(q.store, q.clock.now(), type_name))
    return Opened.model_validate({**breaker_json(made), "warning": unknown})


@router.post("/breakers/{type_name}/close", summary="Close a breaker", response_model=Saved, responses=problems())
async def close_breaker(type_name: TypeName, who: Operator, acting: Acting) -> Saved:
    """Its tasks are claimed again; `done` is false where it was not open."""
    return Saved(done=await acting(lambda actor: actor.close_breaker(type_name)))
