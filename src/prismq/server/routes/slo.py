"""Service levels: what was promised, what was kept, what is left of the error budget, how fast it goes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from prismq.observability.slo.report import Status, statuses
from prismq.server.dependencies import Serving, Viewer
from prismq.server.routes.shapes import Text, moment, problems

router = APIRouter(prefix="/api/v1/slo", tags=["alerts"])


class BurnRate(BaseModel):
    """How many times faster than it can last the budget goes, over a stretch of time that ends now."""

    window_seconds: float
    rate: float
    total: float = Field(description="How much was counted in it: a rate of few says little.")


class Day(BaseModel):
    """A day, in UTC."""

    day: datetime | None
    good: float
    total: float


class ServiceLevel(BaseModel):
    """A promise, and how it is kept."""

    slo: str = Field(description="success, processing, api, workers, or start for a queue.", examples=["success"])
    queue: str | None = Field(description="The queue that it is about; null: all of them.")
    promise: str = Field(examples=["99 % of tasks complete"])
    target_seconds: float | None
    objective: float = Field(description="The part that is to be good.", examples=[0.99])
    window_seconds: float
    good: float
    total: float
    achieved: float | None = Field(description="The part that was good; null where nothing was counted.")
    state: str = Field(description="kept, at risk, broken, or no data.", examples=["kept"])
    error_budget_spent: float = Field(description="1 is all of it; more: the promise is broken.")
    error_budget_left: float
    burn_rates: list[BurnRate]
    days: list[Day] | None = Field(description="Day by day, oldest first, where it was asked for.")


class ServiceLevels(BaseModel):
    """Every promise."""

    items: list[ServiceLevel]


@router.get("", summary="List service levels", response_model=ServiceLevels, responses=problems())
async def list_levels(
    who: Viewer,
    serving: Serving,
    slo: Annotated[Text | None, Query(description="This one alone.")] = None,
    queue: Annotated[Text | None, Query(description="Those of this queue alone.")] = None,
    history: Annotated[bool, Query(description="Day by day, too.")] = False,
) -> ServiceLevels:
    """The general ones first, then those of queues with a promise, by name."""
    found = await serving.ask(
        lambda q: statuses(q.store, serving.slo, q.clock.now(), with_days=history, kept=serving.slo_days)
    )
    return ServiceLevels(
        items=[
            _level(one, history)
            for one in found
            if (slo is None or one.level.name == slo) and (queue is None or one.level.queue == queue)
        ]
    )


def _level(one: Status, history: bool) -> ServiceLevel:
    days = [Day(day=moment(day.at), good=day.good, total=day.total) for day in one.days] if history else None
    return ServiceLevel(**one.to_json(), days=days)
