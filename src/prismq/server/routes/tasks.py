"""Tasks: enqueue, look, act on one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from prismq.app import PrismQ
from prismq.domain.limits import ATTEMPTS_MAX, DELAY_S_MAX, KEY_CHARS_MAX, PRIORITY_MAX, PRIORITY_MIN, TAGS_MAX
from prismq.domain.task import TaskFilter
from prismq.server.actions import Acting, Done
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.finding import find_tasks
from prismq.server.problems import Problem
from prismq.server.routes.shapes import (
    Changed,
    Cursor,
    Input,
    Key,
    Limit,
    LogLine,
    Name,
    Page,
    Statuses,
    TaskDetail,
    TaskId,
    TaskSummary,
    before_of,
    cursor_of,
    detail_of,
    line_of,
    problems,
    statuses_of,
    summary_of,
)

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"])

BULK_MAX = 1_000


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("key", "a key in a header is printable text")
    return value


class NewTask(Input, json_schema_extra={"examples": [{"type": "mail.send", "payload": {"to": "ada@example.com"}}]}):
    """A task to enqueue."""

    type: Name = Field(description="The task function's name, as workers know it.", examples=["mail.send"])
    payload: dict[str, Any] = Field({}, description="Its named arguments.", examples=[{"to": "ada@example.com"}])
    queue: Name | None = Field(None, description="`default` where nothing else is said.", examples=["mail"])
    priority: int | None = Field(
        None, strict=True, ge=PRIORITY_MIN, le=PRIORITY_MAX, description="Lower runs first; 100 is normal."
    )
    delay_seconds: float | None = Field(
        None, strict=True, ge=0, le=DELAY_S_MAX, description="Not before so long from now."
    )
    run_at: datetime | None = Field(None, description="Not before this; without an offset it is UTC.")
    max_attempts: int | None = Field(None, strict=True, ge=1, le=ATTEMPTS_MAX)
    timeout_seconds: float | None = Field(
        None, strict=True, ge=0.001, le=DELAY_S_MAX, description="What an attempt may take."
    )
    idempotency_key: Key | None = Field(None, description="A second task with this key is not enqueued.")
    unique_for_seconds: Annotated[float, Field(strict=True)] | Literal["pending"] | None = Field(
        None, description="For so long, or until it has ended, the same task is not enqueued again."
    )
    unique_key: Key | None = Field(None, description="What `the same` means; otherwise queue, type and payload.")
    compatibility: dict[str, Any] | None = Field(None, description="What a worker must offer.")
    tags: list[Name] | None = Field(None, max_length=TAGS_MAX)
    retention_seconds: float | None = Field(
        None, strict=True, ge=0, le=DELAY_S_MAX, description="How long it is kept afterwards."
    )

    @model_validator(mode="after")
    def _one_time(self) -> NewTask:
        if self.delay_seconds is not None and self.run_at is not None:
            raise PydanticCustomError("time", "either delay_seconds or run_at, not both")
        return self

    def options(self) -> dict[str, Any]:
        """As PrismQ.enqueue takes them."""
        given = {
            "queue": self.queue,
            "priority": self.priority,
            "delay": self.delay_seconds,
            "run_at": self.run_at,
            "max_attempts": self.max_attempts,
            "timeout": self.timeout_seconds,
            "idempotency_key": self.idempotency_key,
            "unique_for": self.unique_for_seconds,
            "unique_key": self.unique_key,
            "compatibility": self.compatibility,
            "tags": self.tags,
            "retention": self.retention_seconds,
        }
        return {name: value for name, value in given.items() if value is not None}


class ManyTasks(Input):
    """Tasks to enqueue in one transaction: all of them or none."""

    tasks: list[NewTask] = Field(min_length=1, max_length=BULK_MAX)


class Enqueued(BaseModel):
    """What became of an enqueue."""

    id: int = Field(examples=[7])
    created: bool = Field(description="False: an earlier task holds its key, and this is it.", examples=[True])


class EnqueuedMany(BaseModel):
    """What became of many, in their order."""

    tasks: list[Enqueued]


class Explained(BaseModel):
    """Why a task is where it is. docs/why.md lists the reasons."""

    task_id: int
    type: str
    queue: str
    state: str
    at_utc: datetime
    sentence: str = Field(examples=["The queue 'mail' was paused by ada 5 min ago."])
    blocked: bool = Field(description="Whether it will not run until somebody does something.")
    expected_at_utc: datetime | None
    expected: str | None = Field(description="due, now, estimate or not_before.")
    reasons: list[dict[str, Any]]


class Moment(BaseModel):
    """Something that happened to a task, or (`ahead`) is to happen."""

    at_utc: datetime
    kind: str = Field(examples=["attempt_failed"])
    event: str = Field(examples=["attempt 1 failed"])
    duration_seconds: float | None
    worker_id: str | None
    attempt: int | None
    error_type: str | None
    error_message: str | None
    traceback: str | None
    ahead: bool


class Timeline(BaseModel):
    """A task's whole story, oldest first."""

    task_id: int
    moments: list[Moment]


class Priority(Input):
    """A new priority."""

    priority: int = Field(strict=True, ge=PRIORITY_MIN, le=PRIORITY_MAX, description="Lower runs first.", examples=[10])


class NewArguments(Input):
    """The same task with other arguments."""

    payload: dict[str, Any] = Field(examples=[{"to": "ada@example.com"}])


_IdempotencyKey = Annotated[
    Annotated[str, AfterValidator(_printable)] | None,
    Header(
        min_length=1,
        max_length=KEY_CHARS_MAX,
        description="The same as `idempotency_key`: repeat the request with it as often as you like.",
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Enqueue a task",
    response_model=Enqueued,
    responses={**problems(413, 415), 200: {"model": Enqueued, "description": "An earlier task holds its key"}},
)
async def enqueue(
    new: NewTask,
    request: Request,
    response: Response,
    who: Operator,
    serving: Serving,
    idempotency_key: _IdempotencyKey = None,
) -> Enqueued:
    """201 where it was enqueued; 200 where an earlier task with its key was found, which is then returned."""
    options = new.options()
    if idempotency_key is not None and options.setdefault("idempotency_key", idempotency_key) != idempotency_key:
        raise Problem(422, "the header Idempotency-Key and idempotency_key in the body differ")
    options["headers"] = {"prismq.enqueued_by": who.name}
    done = await serving.ask(lambda q: q.enqueue(new.type, new.payload, **options))
    response.status_code = 201 if done.created else 200
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/api/v1/tasks/{done.id}"
    return Enqueued(id=done.id, created=done.created)


@router.post(
    "/bulk", status_code=201, summary="Enqueue many tasks", response_model=EnqueuedMany, responses=problems(413, 415)
)
async def enqueue_bulk(many: ManyTasks, who: Operator, serving: Serving) -> EnqueuedMany:
    """At most 1,000, in one transaction: all of them or none."""

    def enqueue_all(q: PrismQ) -> list[Enqueued]:
        with q.transaction():
            handles = [
                q.enqueue(new.type, new.payload, **new.options() | {"headers": {"prismq.enqueued_by": who.name}})
                for new in many.tasks
            ]
        return [Enqueued(id=one.id, created=one.created) for one in handles]

    return EnqueuedMany(tasks=await serving.ask(enqueue_all))


@router.get("", summary="List tasks", response_model=Page[TaskSummary], responses=problems())
async def list_tasks(
    who: Viewer,
    serving: Serving,
    status: Annotated[
        Statuses | None,
        Query(description="Any of these, in any case; RUNNING and PENDING mean processing and queued."),
    ] = None,
    type: Annotated[Name | None, Query()] = None,  # noqa: A002 - it is called so
    queue: Annotated[Name | None, Query()] = None,
    in_dlq: Annotated[bool, Query(description="Dead letters alone.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TaskSummary]:
    """Newest first."""
    statuses = statuses_of(status or [])
    if in_dlq:
        if statuses and "dead_letter" not in statuses:
            return Page(items=[], next_cursor=None)
        statuses = ("dead_letter",)
    return await find_page(serving, TaskFilter(statuses=statuses, type=type, queue=queue), limit, cursor)


async def find_page(serving: Serving, which: TaskFilter, limit: int, cursor: str | None) -> Page[TaskSummary]:
    """A page of the tasks that match, newest first. A free search that finds little stops, with a cursor to go on."""
    before = before_of(cursor)
    found = await serving.ask(lambda q: find_tasks(q.store, which, limit, before))
    go_on = found.go_on_before
    items = [summary_of(task) for task in found.tasks]
    return Page(items=items, next_cursor=None if go_on is None else cursor_of(go_on))


@router.get("/{task_id}", summary="A task", response_model=TaskDetail, responses=problems(404))
async def get_task(task_id: TaskId, who: Viewer, serving: Serving) -> TaskDetail:
    """Everything that is known of it but its log."""
    return await serving.ask(lambda q: detail_of(q.tasks.get(task_id), q.redactor))


@router.get("/{task_id}/logs", summary="A task's log", response_model=Page[LogLine], responses=problems(404))
async def get_logs(
    task_id: TaskId,
    who: Viewer,
    serving: Serving,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[LogLine]:
    """Oldest first. To follow it, ask again with the cursor: a page has one wherever it has lines."""
    after = before_of(cursor) or 0

    def find(q: PrismQ) -> list[LogLine]:
        q.tasks.get(task_id)
        return [line_of(line, q.redactor) for line in q.tasks.logs(task_id, limit=limit, after_id=after)]

    lines = await serving.ask(find)
    return Page(items=lines, next_cursor=cursor_of(lines[-1].id) if lines else cursor)


@router.get("/{task_id}/timeline", summary="A task's story", response_model=Timeline, responses=problems(404))
async def get_timeline(task_id: TaskId, who: Viewer, serving: Serving) -> Timeline:
    """Every attempt and every change, and what is to come."""
    moments = await serving.ask(lambda q: [Moment(**one.to_dict()) for one in q.timeline(task_id)])
    return Timeline(task_id=task_id, moments=moments)


@router.get("/{task_id}/why", summary="Why it is not running", response_model=Explained, responses=problems(404))
async def get_why(task_id: TaskId, who: Viewer, serving: Serving) -> Explained:
    """Every reason, the weightiest first, and when it is expected to run."""
    return await serving.ask(lambda q: Explained(**q.why(task_id).to_dict()))


@router.post("/{task_id}/cancel", summary="Cancel", response_model=Changed, responses=problems(404, 409))
async def cancel(task_id: TaskId, who: Operator, acting: Acting) -> Changed:
    """A waiting task at once; a running one is asked to stop."""
    return changed(await acting(lambda actor: actor.cancel(task_id)))


@router.post("/{task_id}/retry", summary="Retry", response_model=Changed, responses=problems(404, 409))
async def retry(task_id: TaskId, who: Operator, acting: Acting) -> Changed:
    """Queue an ended task again, with all its attempts."""
    return changed(await acting(lambda actor: actor.retry(task_id)))


@router.post("/{task_id}/run-now", summary="Run now", response_model=Changed, responses=problems(404, 409))
async def run_now(task_id: TaskId, who: Operator, acting: Acting) -> Changed:
    """Make a scheduled task ready."""
    return changed(await acting(lambda actor: actor.run_now(task_id)))


@router.post(
    "/{task_id}/priority", summary="Change the priority", response_model=Changed, responses=problems(404, 409, 415)
)
async def reprioritise(
    task_id: TaskId,
    new: Priority,
    who: Operator,
    acting: Acting,
) -> Changed:
    """Of a task that waits."""
    return changed(await acting(lambda actor: actor.reprioritise(task_id, new.priority)))


@router.post(
    "/{task_id}/retry-with",
    status_code=201,
    summary="Retry with other arguments",
    response_model=Enqueued,
    responses=problems(404, 413, 415),
)
async def retry_with(task_id: TaskId, new: NewArguments, who: Operator, acting: Acting) -> Enqueued:
    """Enqueue a task like this one with another payload; this one stays as it is."""
    payload: Mapping[str, Any] = new.payload
    done = await acting(lambda actor: actor.retry_with(task_id, payload))
    return Enqueued(id=done.task_id, created=done.created)


@router.delete("/{task_id}", summary="Delete", response_model=Changed, responses=problems(404, 409))
async def delete(task_id: TaskId, who: Operator, acting: Acting) -> Changed:
    """A task that nobody runs, with its log."""
    return changed(await acting(lambda actor: actor.delete(task_id)))


def changed(done: Done) -> Changed:
    """An action's outcome for the API."""
    return Changed(changed=done.tasks, cancelling=done.asked)
