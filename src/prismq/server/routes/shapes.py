"""What the API takes and gives, where more than one route has it. Times are ISO 8601 in UTC, durations seconds."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError, from_json
from starlette.requests import HTTPConnection

from prismq.domain.errors import closest
from prismq.domain.limits import KEY_CHARS_MAX, NAME_CHARS_MAX
from prismq.domain.redaction import Redactor
from prismq.domain.status import parse_status
from prismq.domain.task import Task, TaskLog
from prismq.domain.times import from_epoch
from prismq.server.problems import Problem

T = TypeVar("T")

PAGE_MAX = 500
_ID_MAX = 2**63 - 1


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route's errors stand in the documentation: these, and those that any route can end with."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    described = {
        400: "What was sent cannot be read",
        401: "Nobody is known by what was sent",
        403: "The role does not allow it, or another site's page sent it",
        404: "There is no such thing",
        409: "Its state does not allow it",
        413: "Too large",
        414: "The query is too long",
        415: "The body is not of the type that is taken",
        421: "The server does not answer to this host name",
        422: "What was sent does not fit",
        429: "Too many wrong tokens",
        503: "The database is away, or busy",
    }
    return {
        status: {"description": described[status], "content": content}
        for status in sorted({400, 401, 403, 414, 422, 429, 503, *statuses})
    }


def _printable(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise PydanticCustomError("name", "a name is printable text that is not empty")
    return value


def _storable(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("text", "no database keeps the character U+0000")
    return value


Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(_printable)]
Key = Annotated[str, Field(min_length=1, max_length=KEY_CHARS_MAX), AfterValidator(_storable)]
Text = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)]
Statuses = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=20)]
TaskId = Annotated[int, Path(ge=1, le=_ID_MAX, description="The task's id.", examples=[7])]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next_cursor` of the page before; without it, the first page.")
]


class Input(BaseModel):
    """What is sent: nothing that is not known."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """A page of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        description="Pass it as `cursor` for the next page; null at the end. A search that has looked at many tasks "
        "stops with fewer items, or none, and a cursor to go on."
    )


class Changed(BaseModel):
    """What an action did."""

    changed: int = Field(description="How many tasks were changed.", examples=[1])
    cancelling: int = Field(0, description="How many running tasks were asked to stop, and will.", examples=[0])


class Saved(BaseModel):
    """An action that was done."""

    done: bool = Field(examples=[True])


class TaskSummary(BaseModel):
    """A task in a list."""

    id: int = Field(examples=[7])
    type: str = Field(examples=["mail.send"])
    queue: str = Field(examples=["default"])
    priority: int = Field(description="Lower runs first.", examples=[100])
    status: str = Field(
        description="scheduled, queued, claimed, processing, completed, failed, dead_letter or cancelled.",
        examples=["dead_letter"],
    )
    cancelling: bool = Field(description="Whether it runs, and was asked to stop.")
    attempts: int = Field(examples=[5])
    max_attempts: int = Field(examples=[5])
    created_at: datetime | None
    run_after: datetime | None = Field(description="Not before this.")
    reserved_at: datetime | None = Field(description="When the last attempt was claimed.")
    started_at: datetime | None = Field(description="When the last attempt began.")
    finished_at: datetime | None
    worker_id: str | None = Field(description="Who has it, or had it last.")
    error: str | None = Field(description="Its first 500 characters.", examples=["SMTPServerDisconnected: …"])
    schedule: str | None
    tags: list[str] = Field(examples=[["invoice"]])


class TaskDetail(TaskSummary):
    """A task, whole. Values under telling keys (password, token …; the setting redact_keys) are `[redacted]`."""

    payload: Any = Field(examples=[{"to": "ada@example.com"}])
    result: Any = None
    progress: Any = Field(None, examples=[{"done": 3, "total": 10}])
    compatibility: Any = Field(examples=[{"region": "eu"}])
    idempotency_key: str | None
    timeout_seconds: float | None
    retention_seconds: float | None
    backoff: Any = None
    headers: Any = Field(description="What travels with it, the trace's context among it.")
    crashes: int = Field(description="How many workers ended while they ran it.")
    lease_until: datetime | None
    updated_at: datetime | None


class LogLine(BaseModel):
    """A line of a task's log."""

    id: int
    at: datetime | None
    level: str = Field(examples=["INFO"])
    message: str | None = Field(examples=["queued → claimed → processing"])
    details: Any = None
    attempt: int | None


def summary_fields(task: Task) -> dict[str, Any]:
    """A row as a list shows it."""
    tags = value_of(task.tags)
    return {
        "id": task.id,
        "type": task.type,
        "queue": task.queue,
        "priority": task.priority,
        "status": task.status,
        "cancelling": task.state == "cancelling",
        "attempts": task.attempts,
        "max_attempts": task.max_attempts,
        "created_at": task.created_at_utc,
        "run_after": task.run_after_utc,
        "reserved_at": task.reserved_at_utc,
        "started_at": task.processing_started_utc,
        "finished_at": task.finished_at_utc,
        "worker_id": task.locked_by,
        "error": None if task.error_message is None else task.error_message[:500],
        "schedule": task.schedule,
        "tags": [str(tag) for tag in tags] if isinstance(tags, list) else [],
    }


def summary_of(task: Task) -> TaskSummary:
    """A row as a list shows it."""
    return TaskSummary(**summary_fields(task))


def detail_of(task: Task, redactor: Redactor) -> TaskDetail:
    """A row, whole."""
    fields = summary_fields(task) | {"error": task.error_message}
    return TaskDetail(
        **fields,
        payload=cleaned(value_of(task.payload), redactor),
        result=cleaned(value_of(task.result), redactor),
        progress=value_of(task.progress),
        compatibility=value_of(task.compatibility),
        idempotency_key=task.idempotency_key,
        timeout_seconds=task.timeout_seconds,
        retention_seconds=task.retention_seconds,
        backoff=value_of(task.backoff),
        headers=cleaned(value_of(task.headers), redactor),
        crashes=task.crashes,
        lease_until=task.lease_until_utc,
        updated_at=task.updated_at_utc,
    )


def line_of(log: TaskLog, redactor: Redactor) -> LogLine:
    """A log line."""
    return LogLine(
        id=log.log_id or 0,
        at=log.at_utc,
        level=log.level,
        message=log.message,
        details=cleaned(value_of(log.details), redactor),
        attempt=log.attempt,
    )


def value_of(text: str | None) -> Any:
    """A JSON column's value; text that is not JSON, written by hand, as it is."""
    if text is None:
        return None
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


def cleaned(value: Any, redactor: Redactor) -> Any:
    """Without what stands under keys that name secrets."""
    if isinstance(value, Mapping):
        return redactor.redact(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return redactor.redact({"": value})[""]
    return value


def moment(epoch_s: float | None) -> datetime | None:
    """Seconds since 1970 as a time."""
    return None if epoch_s is None else from_epoch(epoch_s)


def statuses_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Statuses in the spellings of people: any case, RUNNING, PENDING; several with commas. Raises UnknownStatus: what
    names none must not mean all."""
    names = [name for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(parse_status(name).value for name in names))


# -- queries


def _query_of(route: Any) -> dict[str, bool]:
    """The query parameters that a route takes, its dependencies' among them; and of each whether it may come again."""
    left, found = [route.dependant], dict[str, bool]()
    while left:
        one = left.pop()
        found |= {field.alias: _is_list(field.field_info.annotation) for field in one.query_params}
        left += one.dependencies
    return dict(sorted(found.items()))


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))


async def _known_query(connection: HTTPConnection) -> None:
    sent = connection.query_params.multi_items()
    if not sent:
        return
    known = _query_of(connection.scope["route"])
    for name, times in Counter(name for name, _ in sent).items():
        if name in known and times > 1 and not known[name]:
            raise Problem(422, f"query: {name} came {times} times, and takes one value. Leave out all but one.")
        if name not in known:
            one_of = f"; there are {', '.join(known)}" if known else ""
            raise Problem(422, f"query: there is no parameter {name[:100]!r} here{one_of}.{closest(name[:100], known)}")


# A filter that is misspelt must not mean all.
KNOWN_QUERY = Depends(_known_query)

# -- cursors: where a list goes on, in a form that nobody takes for an id to count on


def cursor_of(last_id: int) -> str:
    """The cursor of the page after the row with this id."""
    plain = str(last_id).encode()
    return base64.urlsafe_b64encode(_check(plain) + plain).decode().rstrip("=")


def before_of(cursor: str | None) -> int | None:
    """The id before which the page begins. Raises Problem 400 for what this server did not make."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, plain = raw[:6], raw[6:]
        found = int(plain)
        if check == _check(plain) and 0 < found <= _ID_MAX and cursor == cursor_of(found):
            return found
    except (ValueError, binascii.Error):
        pass
    raise Problem(400, "cursor: this is no `next_cursor` of a page; leave it out for the first page")


def _check(plain: bytes) -> bytes:
    # Against typing errors and guesses. Who forges one all the same sees another page of what they may see anyway.
    return blake2b(plain, digest_size=6, key=b"prismq cursor").digest()
