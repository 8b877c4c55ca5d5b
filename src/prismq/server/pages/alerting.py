"""The pages of alerts and service levels, and what can be done there."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from prismq.domain.account import Role
from prismq.observability.alerts.definitions import BY_NAME
from prismq.observability.alerts.matching import SILENCE_S_MAX
from prismq.server.actions import Acting
from prismq.server.dependencies import Admin, Operator, Serving, Viewer
from prismq.server.pages.forms import Asked, Sent, back, needed, whole
from prismq.server.pages.looking import ID_MAX
from prismq.server.pages.rendering import rendering_of, root_of
from prismq.server.problems import Problem
from prismq.server.views.alerts import SILENCE_HOURS, alerts_page
from prismq.server.views.slo import levels_page

router = APIRouter()

_HOUR_S = 3600.0


@router.get("/alerts")
async def show_alerts(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """What is wrong, what was, and who is told."""
    before = asked.one("before_id")
    before_id = None if before is None else whole(before, "before_id", 1, ID_MAX)
    view = await serving.ask(lambda q: alerts_page(q, serving.alerts, before_id))
    return rendering_of(request).page(
        request, who, "alerts.html", title="Alerts", place="alerts", follows=before_id is None, view=view,
        hours=SILENCE_HOURS, is_admin=who.may(Role.ADMIN), built_in=BY_NAME,
        runbooks=serving.alerts.runbooks_url or f"{root_of(request)}/runbooks",
    )  # fmt: skip


@router.get("/levels")
async def show_levels(request: Request, who: Viewer, serving: Serving) -> HTMLResponse:
    """What was promised, and how it is kept."""
    view = await serving.ask(lambda q: levels_page(q, serving.slo, serving.slo_days))
    return rendering_of(request).page(request, who, "levels.html", title="Service levels", place="levels", view=view)


@router.post("/alerts/acknowledge")
async def acknowledge(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Look after an alert."""
    alert_id = whole(needed(sent, "alert_id"), "an alert's number", 1, ID_MAX)
    await acting(lambda actor: actor.acknowledge_alert(alert_id, sent.one("note")))
    return back(request, sent, "/alerts", done="acknowledge", n=alert_id)


@router.post("/alerts/silence")
async def silence(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Let alerts that match not be told for a while."""
    hours = whole(needed(sent, "hours"), "hours", 1, int(SILENCE_S_MAX / _HOUR_S))
    named = {name: value.strip() for name in ("rule", "queue", "severity") if (value := sent.one(name) or "").strip()}
    others = {name.removeprefix("label_"): value for name, value in sent.items if name.startswith("label_") and value}
    made = await acting(
        lambda actor: actor.silence({**others, **named}, hours * _HOUR_S, sent.one("reason") or "", None)
    )
    return back(request, sent, "/alerts", done="silence", n=made.silence_id)


@router.post("/alerts/unsilence")
async def unsilence(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """End a silence."""
    silence_id = whole(needed(sent, "silence_id"), "a silence's number", 1, ID_MAX)
    await acting(lambda actor: actor.unsilence(silence_id))
    return back(request, sent, "/alerts", done="unsilence")


@router.post("/alerts/test")
async def send_test(request: Request, who: Admin, acting: Acting, sent: Sent) -> Response:
    """Send a message to a channel."""
    name = needed(sent, "channel")
    [tried] = await acting(lambda actor: actor.test_channels([name]))
    if tried.error is not None:
        raise Problem(502, f"the channel {name} did not take the message: {tried.error}")
    return back(request, sent, "/alerts", done="tested")
