"""Searching tasks, and acting on all that match."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from prismq.domain.limits import PRIORITY_MAX, PRIORITY_MIN
from prismq.domain.task import TaskFilter
from prismq.domain.times import to_epoch
from prismq.server.actions import Acting, preview
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.routes.shapes import (
    Cursor,
    Input,
    Limit,
    Name,
    Page,
    Statuses,
    TaskSummary,
    Text,
    problems,
    statuses_of,
)
from prismq.server.routes.tasks import find_page

router = APIRouter(prefix="/api/v1/search/tasks", tags=["search"])

_IDS_MAX = 1_000


class Search(Input):
    """Which tasks are meant: all that is given must match."""

    ids: list[Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]] = Field([], max_length=_IDS_MAX)
    status: Statuses = Field([], description="Any of these.", examples=[["failed", "dead_letter"]])
    type: Name | None = Field(None, examples=["mail.send"])
    queue: Name | None = Field(None, examples=["mail"])
    schedule: Name | None = None
    tag: Name | None = None
    text: Text | None = Field(None, description="In payload or error, in any case.", examples=["timeout"])
    created_after: datetime | None = Field(None, description="Enqueued at this time or later.")
    created_before: datetime | None = Field(None, description="Enqueued before this.")

    def to_filter(self) -> TaskFilter:
        """As the store takes it. Raises UnknownStatus."""
        return TaskFilter(
            ids=tuple(self.ids),
            statuses=statuses_of(self.status),
            type=self.type,
            queue=self.queue,
            schedule=self.schedule,
            tag=self.tag,
            text=self.text,
            created_after=None if self.created_after is None else to_epoch(self.created_after),
            created_before=None if self.created_before is None else to_epoch(self.created_before),
        )


class BulkAction(
    Input,
    json_schema_extra={
        "examples": [
            {"action": "retry", "filter": {"status": ["dead_letter"], "type": "mail.send"}, "dry_run": True},
            {"action": "retry", "filter": {"status": ["dead_letter"], "type": "mail.send"}, "expected": 12},
        ]
    },
):
    """What to do to all that match. First with `dry_run`, then with the `expected` number that it gave."""

    action: Literal["cancel", "retry", "run-now", "delete", "reprioritise"]
    filter: Search = Field(description="At least one condition.")
    dry_run: bool = Field(False, strict=True, description="Count, and change nothing.")
    expected: int | None = Field(
        None, ge=0, strict=True, description="`matching` of the dry run; more may not match by then."
    )
    priority: int | None = Field(None, strict=True, ge=PRIORITY_MIN, le=PRIORITY_MAX, description="For reprioritise.")

    @model_validator(mode="after")
    def _whole(self) -> BulkAction:
        if not self.dry_run and self.expected is None:
            raise PydanticCustomError("expected", "ask with dry_run first, then give its `matching` as `expected`")
        if (self.action == "reprioritise") != (self.priority is not None):
            raise PydanticCustomError("priority", "reprioritise wants a priority, and nothing else does")
        return self


class BulkDone(BaseModel):
    """What a bulk action did, or would do."""

    action: str = Field(examples=["retry"])
    dry_run: bool
    matching: int | None = Field(description="Of a dry run: how many would be changed.", examples=[12])
    exact: bool | None = Field(description="Of a dry run: false where there are more than that.")
    changed: int = Field(examples=[0])
    cancelling: int = Field(description="How many running tasks were asked to stop.", examples=[0])


@router.get("", summary="Search tasks", response_model=Page[TaskSummary], responses=problems())
async def search(
    who: Viewer,
    serving: Serving,
    status: Annotated[Statuses | None, Query(description="Any of these, in any case.")] = None,
    type: Annotated[Name | None, Query()] = None,  # noqa: A002 - it is called so
    queue: Annotated[Name | None, Query()] = None,
    schedule: Annotated[Name | None, Query()] = None,
    tag: Annotated[Name | None, Query()] = None,
    text: Annotated[Text | None, Query(description="In payload or error, in any case.")] = None,
    created_after: Annotated[datetime | None, Query(description="Enqueued at this time or later.")] = None,
    created_before: Annotated[datetime | None, Query(description="Enqueued before this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TaskSummary]:
    """Newest first. A search for text reads rows until it has a page: name a status, a queue or a time as well where
    there are millions, or the setting query_timeout_seconds ends it with 503."""
    which = Search(
        status=status or [],
        type=type,
        queue=queue,
        schedule=schedule,
        tag=tag,
        text=text,
        created_after=created_after,
        created_before=created_before,
    )
    return await find_page(serving, which.to_filter(), limit, cursor)


@router.post(
    "/bulk-action", summary="Act on all that match", response_model=BulkDone, responses=problems(409, 413, 415)
)
async def bulk_action(bulk: BulkAction, who: Operator, serving: Serving, acting: Acting) -> BulkDone:
    """Without a status in the filter, those tasks are meant for which the action is: `retry` means failed ones and dead
    letters. 409, and nothing done, where more match than were expected."""
    which = bulk.filter.to_filter()
    fields: dict[str, Any] = {"action": bulk.action, "dry_run": bulk.dry_run}
    if bulk.dry_run:
        found = await serving.ask(lambda q: preview(q, bulk.action, which))
        return BulkDone(**fields, matching=found.matching, exact=found.exact, changed=0, cancelling=0)
    expected = bulk.expected or 0
    done = await acting(lambda actor: actor.on_all(bulk.action, which, expected=expected, priority=bulk.priority))
    return BulkDone(**fields, matching=None, exact=None, changed=done.tasks, cancelling=done.asked)
