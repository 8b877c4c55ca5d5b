"""The pages on which one sees how the queue steers itself: scaling and remediation."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from prismq.domain.sizing import SLOTS_MAX
from prismq.observability.remediation.board import MEANINGS, board
from prismq.observability.remediation.by_hand import FOR_S_MAX
from prismq.server.actions import Acting
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.pages.forms import Asked, Sent, back, needed, whole
from prismq.server.pages.looking import ID_MAX
from prismq.server.pages.rendering import rendering_of
from prismq.server.views.scaling import scaling_page

router = APIRouter()

_SIZES_MAX = 6


@router.get("/scaling")
async def show_scaling(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """How many slots the queues need."""
    text = asked.one("slots") or ""
    sizes = [whole(part.strip(), "slots", 1, SLOTS_MAX) for part in text.split(",") if part.strip()][:_SIZES_MAX]
    view = await serving.ask(lambda q: scaling_page(q, sizes, promises=serving.slo.promises))
    return rendering_of(request).page(
        request, who, "scaling.html", title="Scaling", place="scaling", follows=not sizes, view=view,
        infinite=float("inf"),
    )  # fmt: skip


@router.get("/remediation")
async def show_remediation(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """What was put right, and the breakers."""
    before = asked.one("before_id")
    before_id = None if before is None else whole(before, "before_id", 1, ID_MAX)
    view = await serving.ask(lambda q: board(q.store, q.clock.now(), before_id=before_id))
    return rendering_of(request).page(
        request, who, "remediation.html", title="Remediation", place="remediation", follows=before_id is None,
        view=view, meanings=MEANINGS,
    )  # fmt: skip


@router.post("/remediation/open")
async def open_breaker(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Let the tasks of a type wait."""
    type_ = needed(sent, "type").strip()
    minutes = sent.one("minutes")
    for_s = None if minutes is None else 60.0 * whole(minutes, "minutes", 1, int(FOR_S_MAX / 60))
    await acting(lambda actor: actor.open_breaker(type_, sent.one("reason") or "", for_s))
    return back(request, sent, "/remediation", done="breaker")


@router.post("/remediation/close")
async def close_breaker(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Have them claimed again."""
    type_ = needed(sent, "type")
    await acting(lambda actor: actor.close_breaker(type_))
    return back(request, sent, "/remediation", done="breaker")
