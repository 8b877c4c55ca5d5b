"""Signing in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from prismq.server.auth import identify
from prismq.server.dependencies import PUBLIC, Viewer
from prismq.server.pages.forms import Asked, Sent, is_local
from prismq.server.pages.rendering import rendering_of, root_of
from prismq.server.problems import Problem
from prismq.server.sessions import sign_in, sign_out

router = APIRouter()


def _next(request: Request, text: str | None) -> str:
    return text if text and is_local(text) else f"{root_of(request)}/"


@router.get("/login", dependencies=[PUBLIC])
async def login_page(request: Request, asked: Asked) -> Response:
    """The form; who is known already goes on."""
    place = _next(request, asked.one("next"))
    try:
        await identify(request)
    except Problem:
        return rendering_of(request).bare(request, "login.html", next=place, problem="")
    return RedirectResponse(place, 303)


@router.post("/login", dependencies=[PUBLIC])
async def login(request: Request, sent: Sent) -> Response:
    """Start a session, and go to the page that was wanted."""
    place = _next(request, sent.one("next"))
    answer = RedirectResponse(place, 303)
    try:
        await sign_in(request, answer, sent.one("token") or "")
    except Problem as problem:
        if problem.status not in (401, 429):
            raise
        shown = rendering_of(request).bare(
            request,
            "login.html",
            problem.status,
            next=place,
            problem=f"{problem.detail[:1].upper()}{problem.detail[1:]}.",
        )
        shown.headers.update(problem.headers)
        return shown
    return answer


@router.post("/logout")
async def logout(request: Request, who: Viewer) -> Response:
    """End the session."""
    answer = RedirectResponse(f"{root_of(request)}/login", 303)
    await sign_out(request, answer)
    return answer
