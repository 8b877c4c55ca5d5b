"""Queues: how they are, pause, resume, limit, purge."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from prismq.domain.status import TaskStatus
from prismq.server.actions import Acting, preview, purge_filter
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.routes.search import BulkDone
from prismq.server.routes.shapes import Input, Name, Saved, moment, problems
from prismq.storage.contract import QueueInfo

router = APIRouter(prefix="/api/v1/queues", tags=["queues"])

QueueName = Annotated[Name, Path(description="The queue's name.", examples=["default"])]


class Queue(BaseModel):
    """A queue."""

    queue: str = Field(examples=["default"])
    paused: bool
    paused_at: datetime | None
    paused_by: str | None
    max_running: int | None = Field(description="How many of its tasks may run at once; null: no limit.")
    depth: dict[str, int] = Field(description="How many tasks have each status.", examples=[{"queued": 3}])
    oldest_ready_seconds: float | None = Field(description="How long the longest-waiting ready task has been ready.")


class Queues(BaseModel):
    """Every queue that holds a task or a setting."""

    items: list[Queue]


class QueueLimit(Input):
    """How many of a queue's tasks may run at once."""

    max_running: int | None = Field(
        strict=True, ge=1, le=1_000_000, description="Over all workers; null: no limit.", examples=[10]
    )


class Purge(Input, json_schema_extra={"examples": [{"dry_run": True}, {"expected": 3}]}):
    """Delete the waiting tasks of a queue. First with `dry_run`, then with the `expected` number that it gave."""

    dry_run: bool = Field(False, strict=True, description="Count, and delete nothing.")
    expected: int | None = Field(
        None, ge=0, strict=True, description="`matching` of the dry run; more may not wait by then."
    )

    @model_validator(mode="after")
    def _whole(self) -> Purge:
        if not self.dry_run and self.expected is None:
            raise PydanticCustomError("expected", "ask with dry_run first, then give its `matching` as `expected`")
        return self


def queue_of(one: QueueInfo) -> Queue:
    """A queue for the API."""
    return Queue(
        queue=one.queue,
        paused=one.paused_at is not None,
        paused_at=moment(one.paused_at),
        paused_by=one.paused_by,
        max_running=one.max_running,
        depth={status.value: one.depth.get(status.value, 0) for status in TaskStatus},
        oldest_ready_seconds=one.oldest_ready_s,
    )


@router.get("", summary="List queues", response_model=Queues, responses=problems())
async def list_queues(who: Viewer, serving: Serving) -> Queues:
    """By name."""
    return Queues(items=await serving.ask(lambda q: [queue_of(one) for one in q.tasks.queues()]))


@router.post("/{queue}/pause", summary="Pause a queue", response_model=Saved, responses=problems(404))
async def pause(queue: QueueName, who: Operator, acting: Acting) -> Saved:
    """Nothing more of it is claimed until it is resumed; what runs goes on."""
    await acting(lambda actor: actor.pause_queue(queue))
    return Saved(done=True)


@router.post("/{queue}/resume", summary="Resume a queue", response_model=Saved, responses=problems(404))
async def resume(queue: QueueName, who: Operator, acting: Acting) -> Saved:
    """`done` is false where it was not paused."""
    return Saved(done=await acting(lambda actor: actor.resume_queue(queue)))


@router.post("/{queue}/limit", summary="Limit a queue", response_model=Saved, responses=problems(404, 415))
async def limit(queue: QueueName, new: QueueLimit, who: Operator, acting: Acting) -> Saved:
    """How many of its tasks may run at once, over all workers."""
    await acting(lambda actor: actor.limit_queue(queue, new.max_running))
    return Saved(done=True)


@router.post("/{queue}/purge", summary="Purge a queue", response_model=BulkDone, responses=problems(404, 409, 415))
async def purge(queue: QueueName, how: Purge, who: Operator, serving: Serving, acting: Acting) -> BulkDone:
    """Delete what waits in it, ready and scheduled. There is no way back; what runs goes on."""
    if how.dry_run:
        found = await serving.ask(lambda q: preview(q, "delete", purge_filter(queue)))
        return BulkDone(
            action="purge", dry_run=True, matching=found.matching, exact=found.exact, changed=0, cancelling=0
        )
    expected = how.expected or 0
    done = await acting(lambda actor: actor.purge_queue(queue, expected=expected))
    return BulkDone(action="purge", dry_run=False, matching=None, exact=None, changed=done.tasks, cancelling=0)
