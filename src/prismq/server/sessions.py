"""Signing a browser in and out."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import Response

from prismq.client.tokens import digest, new_session
from prismq.domain.account import AuditEntry
from prismq.server.auth import COOKIE, Principal, address_of, check_origin, csrf_of, refuse_guessers
from prismq.server.problems import Problem
from prismq.server.services import Services


async def sign_in(request: Request, response: Response, token: str) -> Principal:
    """Start a session with an API token, and set its cookie on `response`; whoever was signed in before is not any
    more. Raises Problem: 401 for a wrong token, 403 where another site sent this, 429 after too many wrong ones."""
    check_origin(request)
    services: Services = request.app.state.services
    address = address_of(request) or ""
    refuse_guessers(services, address)
    found = await services.accounts.of_token(token.strip())
    if found is None:
        services.accounts.throttle.failed(address)
        raise Problem(401, "this token is unknown, has expired, or was revoked")
    services.accounts.throttle.forget(address)
    # Always a new one: an id that somebody else has planted must not become a session (fixation).
    secret = new_session()
    now = services.q.clock.now()
    expires_at = now + services.settings.session_seconds
    if found.expires_at is not None:
        expires_at = min(expires_at, found.expires_at)
    before = request.cookies.get(COOKIE)
    entry = AuditEntry(found.name, "sessions.start", now, origin=address or None, via="session")

    def start() -> None:
        q = services.q
        if before:
            q.store.accounts.end_session(digest(before))
        q.store.accounts.start_session(digest(secret), found.token_id, expires_at, now)
        q.store.audit.add(entry)

    await services.act(start)
    services.accounts.forget()
    response.set_cookie(
        COOKIE,
        secret,
        max_age=math.ceil(expires_at - now),
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    principal = Principal(found.name, found.role, "session", found.token_id)
    request.state.principal, request.state.csrf = principal, csrf_of(secret)
    return principal


async def sign_out(request: Request, response: Response) -> None:
    """End the session, and take the cookie back."""
    services: Services = request.app.state.services
    cookie = request.cookies.get(COOKIE)
    if cookie:
        await services.act(lambda: services.q.store.accounts.end_session(digest(cookie)))
        services.accounts.forget()
    response.delete_cookie(
        COOKIE, path=_path(request), secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )


def _path(request: Request) -> str:
    return request.scope.get("root_path") or "/"
