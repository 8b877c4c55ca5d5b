"""Who asks, and whether they may: tokens, the dashboard's sessions, and requests that other sites send."""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection, Request

from prismq.domain.account import Role
from prismq.server.problems import Problem

if TYPE_CHECKING:
    from prismq.server.services import Services


COOKIE = "prismq_session"
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf_token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


@dataclass(frozen=True)
class Principal:
    """Who asks. `via`: "token" (Authorization header), "session" (cookie), "open" (nobody is asked who they are)."""

    name: str
    role: Role
    via: str
    token_id: int | None = None

    def may(self, role: Role) -> bool:
        """Whether what wants `role` is open to them."""
        return self.role.covers(role)


class Needs(SecurityBase):
    """The dependency that lets a role, and those above it, through. Every route has one, or PUBLIC; a test looks."""

    scheme_name = "token"
    model = BearerModel(description="A token of `prismq tokens create`: `Authorization: Bearer …`")

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: HTTPConnection) -> Principal:
        principal = await identify(request)
        if not principal.may(self.role):
            raise Problem(403, f"this wants the role {self.role}, and {principal.name!r} is {_a(principal.role)}")
        return principal


async def _anyone() -> None:
    """Nobody is asked."""


def _a(role: Role) -> str:
    return f"{'an' if role.value[0] in 'ao' else 'a'} {role}"


# How a route says whom it is for: a parameter `who: Viewer`, or `dependencies=[PUBLIC]`.
Viewer = Annotated[Principal, Depends(Needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(Needs(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(Needs(Role.ADMIN))]
PUBLIC = Depends(_anyone)


async def identify(request: HTTPConnection) -> Principal:
    """Who sends this request. Raises Problem: 401 where nobody is known, 403 where another site sent it."""
    known: Principal | None = getattr(request.state, "principal", None)
    if known is None:
        known = request.state.principal = await _identify(request)
    return known


async def identify_anew(request: HTTPConnection) -> Principal:
    """The same for a connection that lasts: whoever was known may not be any more."""
    return await _identify(request)


async def _identify(request: HTTPConnection) -> Principal:
    services: Services = request.app.state.services
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    address = address_of(request)
    if token or scheme:
        if scheme.lower() != "bearer" or not token:
            raise _unknown("the Authorization header takes `Bearer` and a token")
        refuse_guessers(services, address)
        found = await services.accounts.of_token(token.strip())
        if found is None:
            services.accounts.throttle.failed(address or "")
            raise _unknown("this token is unknown, has expired, or was revoked")
        return Principal(found.name, found.role, "token", found.token_id)
    cookie = request.cookies.get(COOKIE)
    if cookie:
        session = await services.accounts.of_session(cookie)
        if session is not None:
            request.state.csrf = csrf_of(cookie)
            await _refuse_other_sites(request, always=True)
            return Principal(session.token.name, session.token.role, "session", session.token.token_id)
    if await services.accounts.is_open(address):
        request.state.csrf = services.accounts.open_csrf
        await _refuse_other_sites(request, always=False)
        return Principal("anonymous", Role.ADMIN, "open")
    raise _unknown("say who you are: `Authorization: Bearer` and a token of `prismq tokens create`, or sign in")


def csrf_token(request: HTTPConnection) -> str:
    """What a page's forms send back as `csrf_token`, and its scripts as `X-CSRF-Token`. After `identify()`."""
    return str(getattr(request.state, "csrf", ""))


def csrf_of(cookie: str) -> str:
    """The CSRF token of a session: made of the secret cookie, so that it needs no keeping, and ends with it."""
    return hmac.new(cookie.encode(), b"prismq csrf", sha256).hexdigest()


def check_origin(request: HTTPConnection) -> None:
    """Raise Problem 403 where a browser says that another site's page sent this."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and origin is None:
        raise Problem(403, "another site's page sent this")
    if origin is not None and not same_origin(origin, request.headers.get("host", "")):
        raise Problem(403, "another site's page sent this: its Origin is not the address of this server")


def same_origin(origin: str, host: str) -> bool:
    """Whether the Origin header names the host that was asked. The scheme is left aside: a proxy may end TLS."""
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and bool(parts.netloc) and parts.netloc.lower() == host.lower()
    except ValueError:
        return False


async def _refuse_other_sites(request: HTTPConnection, *, always: bool) -> None:
    """Cookies come with what other sites send, too. `always`: a CSRF token, whatever the body is."""
    if request.scope["type"] == "websocket":
        check_origin(request)
        return
    if request.scope["method"] in _SAFE:
        return
    check_origin(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Without a session there is nothing to steal but this machine's trust. What another site can send without being
    # refused by the browser is a form.
    if not always and ((kind and kind not in _FORMS) or request.headers.get("origin") is None):
        return
    sent = request.headers.get(CSRF_HEADER, "")
    if not sent and kind in _FORMS[:2] and isinstance(request, Request):
        value = (await request.form()).get(CSRF_FIELD, "")
        sent = value if isinstance(value, str) else ""
    if not hmac.compare_digest(sent.encode(), csrf_token(request).encode()):
        raise Problem(403, "the CSRF token is missing or not that of this session; load the page again")


def address_of(request: HTTPConnection) -> str | None:
    """Where the request came from, as far as trusted proxies tell; None for a Unix socket."""
    return request.client.host if request.client else None


def refuse_guessers(services: Services, address: str | None) -> None:
    """Raise Problem 429 where this address was wrong too often."""
    wait_s = services.accounts.throttle.wait_s(address or "")
    if wait_s > 0:
        raise Problem(
            429,
            "too many wrong tokens came from this address; wait a little",
            headers={"Retry-After": str(math.ceil(wait_s))},
        )


def _unknown(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="prismq"'})


def roles_of(dependencies: Iterable[object]) -> list[Role]:
    """The roles that these dependencies ask for."""
    return [one.role for one in dependencies if isinstance(one, Needs)]
