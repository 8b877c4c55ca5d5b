"""Alerts: what is open, what was, who was told, silences, rules, and a test of the channels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from prismq.app import PrismQ
from prismq.config.alerts import AlertsConfig
from prismq.domain.times import to_epoch
from prismq.observability.alerts.acts import TEXT_CHARS_MAX
from prismq.observability.alerts.board import Shown, board, channels_json, notice_json, shown_of, silence_json
from prismq.observability.alerts.matching import MATCHERS_MAX, NAMES_NOTHING, SILENCE_S_MAX
from prismq.observability.alerts.rules import rules_of
from prismq.server.actions import Acting
from prismq.server.dependencies import Admin, Operator, Serving, Viewer
from prismq.server.problems import Problem
from prismq.server.routes.shapes import (
    Cursor,
    Input,
    Limit,
    Name,
    Page,
    Saved,
    Text,
    before_of,
    cursor_of,
    moment,
    problems,
)

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

_ID_MAX = 2**63 - 1
AlertId = Annotated[int, Path(ge=1, le=_ID_MAX, description="The alert's number.", examples=[1])]
SilenceId = Annotated[int, Path(ge=1, le=_ID_MAX, description="The silence's number.", examples=[1])]
State = Literal["firing", "pending", "acknowledged", "silenced", "muted"]


class Alert(BaseModel):
    """One time that something was, or is, wrong."""

    id: int = Field(examples=[1])
    rule: str = Field(examples=["NoActiveWorkers"])
    labels: dict[str, str] = Field(description="What tells it from others of its rule.", examples=[{"queue": "mail"}])
    severity: str = Field(description="page, ticket or info.", examples=["page"])
    state: str = Field(
        description="pending, firing, acknowledged, silenced, muted (it follows from another, and is not told) or "
        "resolved.",
        examples=["firing"],
    )
    summary: str
    description: str
    value: float | None
    threshold: float | None
    since: datetime | None = Field(description="When its figure went past the threshold.")
    fired_at: datetime | None
    resolved_at: datetime | None
    notified_at: datetime | None = Field(description="When it was last told; null: it was not.")
    escalated_at: datetime | None
    told: list[str] = Field(description="The channels that were told.")
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    silence_id: int | None = Field(description="The silence that it is under.")
    muted_by: str | None = Field(description="The alert that it follows from, and that fires.")
    runbook: str | None = Field(description="Where it is said what to do; null for rules of one's own.")


class Watcher(BaseModel):
    """The process that watches."""

    holder: str
    since: datetime | None
    until: datetime | None = Field(description="When another takes over, unless it says that it lives.")


class Channel(BaseModel):
    """Where alerts go, without its address."""

    channel: str = Field(examples=["ops"])
    kind: str | None = Field(description="apprise, webhook or command; null where this server's settings lack it.")
    severities: list[str]
    escalation: bool
    state: str = Field(description="fine, failing or unused.")
    delivered_at: datetime | None
    failing_since: datetime | None
    error: str | None


class Alerts(BaseModel):
    """What is open, and who watches."""

    items: list[Alert]
    watcher: Watcher | None = Field(description="null: nobody watches.")
    channels: list[Channel]


class Notice(BaseModel):
    """Something that was, or has to be, said to a channel."""

    id: int
    alert_id: int
    channel: str
    kind: str = Field(description="firing, repeat, escalation or resolved.")
    state: str = Field(description="waiting, delivered or given up.")
    created_at: datetime | None
    due_at: datetime | None
    tries: int
    error: str | None
    done_at: datetime | None


class AlertDetail(Alert):
    """An alert, and what was said about it."""

    notices: list[Notice]


class Acknowledge(Input):
    """Somebody looks after it."""

    note: str | None = Field(None, max_length=TEXT_CHARS_MAX, examples=["the disk is being replaced"])


def _some(matchers: object) -> object:
    if matchers == {}:
        raise PydanticCustomError("matchers", NAMES_NOTHING)
    return matchers


class NewSilence(
    Input, json_schema_extra={"examples": [{"matchers": {"rule": "*", "queue": "mail"}, "seconds": 3600}]}
):
    """Alerts that match all of it are not told for a while."""

    matchers: Annotated[dict[Name, Name], BeforeValidator(_some)] = Field(
        min_length=1,
        max_length=MATCHERS_MAX,
        description="rule, severity, or a label, and what it is to be; * and ? stand for any characters and for one. "
        "What can match no rule is refused.",
    )
    seconds: float = Field(gt=0, le=SILENCE_S_MAX, strict=True, examples=[3600])
    reason: str = Field("", max_length=TEXT_CHARS_MAX, examples=["planned work"])
    starts_at: datetime | None = Field(None, description="null: now.")


class Silence(BaseModel):
    """Alerts that match are not told between the two times."""

    id: int
    matchers: dict[str, str]
    starts_at: datetime | None
    until: datetime | None
    active: bool
    created_by: str
    created_at: datetime | None
    reason: str


class Silences(BaseModel):
    """Silences, newest first."""

    items: list[Silence]


class Rule(BaseModel):
    """A rule, as this server's settings have it."""

    rule: str
    group: str
    severity: str
    enabled: bool
    changed: bool = Field(description="By the settings.")
    comparison: str
    threshold: float
    clear: float = Field(description="On this side of it the figure is fine again.")
    unit: str
    for_seconds: float
    resolve_after_seconds: float
    labels: list[str]
    queues: dict[str, float] = Field(description="Thresholds of single queues.")
    params: dict[str, float]
    metric: str | None
    series: dict[str, str]
    summary: str
    description: str
    runbook: str | None


class Rules(BaseModel):
    """Every rule."""

    items: list[Rule]


class Test(Input):
    """Send a message to a channel; to all where none is named."""

    channel: Name | None = Field(None, examples=["on-call"])


class Tried(BaseModel):
    """What became of it."""

    channel: str
    ok: bool
    error: str | None


class Trials(BaseModel):
    """What became of the messages."""

    items: list[Tried]


def alert_of(one: Shown, config: AlertsConfig) -> Alert:
    """An alert for the API."""
    return Alert(**one.to_json(config))


@router.get("", summary="List open alerts", response_model=Alerts, responses=problems())
async def list_alerts(
    who: Viewer, serving: Serving, state: Annotated[State | None, Query(description="Only these.")] = None
) -> Alerts:
    """What fires first, the gravest first; then what is pending, acknowledged, silenced or muted."""
    found = await serving.ask(lambda q: board(q.store, q.clock.now()))
    watcher = found.watcher
    return Alerts(
        items=[alert_of(one, serving.alerts) for one in found.open if state is None or one.state == state],
        watcher=None
        if watcher is None
        else Watcher(holder=watcher.holder, since=moment(watcher.since), until=moment(watcher.until)),
        channels=[Channel(**one) for one in channels_json(serving.alerts, found.channels)],
    )


@router.get("/history", summary="What fired before", response_model=Page[Alert], responses=problems())
async def history(
    who: Viewer,
    serving: Serving,
    rule: Annotated[Text | None, Query(description="Of this rule alone.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Alert]:
    """Alerts that fired, resolved or not, newest first."""
    before = before_of(cursor)

    def ask(q: PrismQ) -> list[Shown]:
        found = q.store.alerts.history(rule=rule, limit=limit + 1, before_id=before)
        return shown_of(q.store, found, q.clock.now())

    found = await serving.ask(ask)
    items = [alert_of(one, serving.alerts) for one in found[:limit]]
    return Page(items=items, next_cursor=cursor_of(items[-1].id) if len(found) > limit else None)


@router.get("/rules", summary="List rules", response_model=Rules, responses=problems())
async def list_rules(who: Viewer, serving: Serving) -> Rules:
    """The built-in alerts, with what the settings change, and rules of one's own."""
    return Rules(items=[Rule(**one.to_json()) for one in rules_of(serving.alerts)])


@router.get("/silences", summary="List silences", response_model=Silences, responses=problems())
async def list_silences(
    who: Viewer, serving: Serving, past: Annotated[bool, Query(description="Those that ended, too.")] = False
) -> Silences:
    """Newest first."""
    return Silences(
        items=await serving.ask(
            lambda q: [
                Silence(**silence_json(one, q.clock.now())) for one in q.store.alerts.silences(q.clock.now(), past=past)
            ]
        )
    )


@router.post(
    "/silences", status_code=201, summary="Silence alerts", response_model=Silence, responses=problems(413, 415)
)
async def silence(new: NewSilence, who: Operator, serving: Serving, acting: Acting) -> Silence:
    """They are still judged and shown; channels hear nothing of them until it is over."""
    starts_at = None if new.starts_at is None else to_epoch(new.starts_at)
    made = await acting(lambda actor: actor.silence(new.matchers, new.seconds, new.reason, starts_at))
    return Silence(**silence_json(made, serving.q.clock.now()))


@router.delete("/silences/{silence_id}", summary="End a silence", response_model=Saved, responses=problems(404))
async def unsilence(silence_id: SilenceId, who: Operator, acting: Acting) -> Saved:
    """What fires then is told."""
    await acting(lambda actor: actor.unsilence(silence_id))
    return Saved(done=True)


@router.post("/test", summary="Test the channels", response_model=Trials, responses=problems(413, 415))
async def send_test(what: Test, who: Admin, acting: Acting) -> Trials:
    """One message each, from this server, at once."""
    tried = await acting(lambda actor: actor.test_channels([] if what.channel is None else [what.channel]))
    return Trials(items=[Tried(channel=one.channel, ok=one.error is None, error=one.error) for one in tried])


@router.get("/{alert_id}", summary="An alert", response_model=AlertDetail, responses=problems(404))
async def get_alert(alert_id: AlertId, who: Viewer, serving: Serving) -> AlertDetail:
    """With what was said about it, newest first."""

    def ask(q: PrismQ) -> AlertDetail:
        found = q.store.alerts.get(alert_id)
        if found is None:
            raise Problem(404, f"there is no alert {alert_id}")
        [shown] = shown_of(q.store, [found], q.clock.now())
        notices = [Notice(**notice_json(one)) for one in q.store.alerts.notices(alert_id=alert_id)]
        return AlertDetail(**shown.to_json(serving.alerts), notices=notices)

    return await serving.ask(ask)


@router.post(
    "/{alert_id}/acknowledge", summary="Acknowledge an alert", response_model=Alert, responses=problems(404, 413, 415)
)
async def acknowledge(alert_id: AlertId, how: Acknowledge, who: Operator, serving: Serving, acting: Acting) -> Alert:
    """Somebody looks after it: it is neither repeated nor escalated."""
    return alert_of(Shown(await acting(lambda actor: actor.acknowledge_alert(alert_id, how.note))), serving.alerts)
