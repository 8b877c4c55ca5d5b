"""What stands before every route: which names the server answers to, how much may be sent, what browsers are told."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prismq.server.problems import MEDIA_TYPE, Problem

_QUERY_BYTES_MAX = 8192
_PATH_BYTES_MAX = 4096

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class SecurityHeaders:
    """Adds the headers that tell browsers what this server's pages may do; a route's own win."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self._app(scope, receive, with_headers)


class Limits:
    """Refuses hosts this server is not, and what is too large, before anything reads it."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str] | None, body_bytes_max: int) -> None:
        self._app = app
        self._hosts = None if hosts is None else [host.lower() for host in hosts]
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._problem(scope, headers)
        if problem is not None:
            await _refuse(scope, receive, send, problem)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._body_bytes_max:
                    # FastAPI lets this one through as it is; any other would be "cannot be parsed".
                    raise HTTPException(413, self._too_large().detail)
            return message

        await self._app(scope, counted, send)

    def _problem(self, scope: Scope, headers: Headers) -> Problem | None:
        if self._hosts is not None and not self._is_ours(headers.get("host", "")):
            return Problem(
                421, "this server does not answer to the name in the Host header; see the setting allowed_hosts"
            )
        if len(scope.get("query_string", b"")) > _QUERY_BYTES_MAX or len(scope.get("path", "")) > _PATH_BYTES_MAX:
            return Problem(414, f"the query may have {_QUERY_BYTES_MAX:,} bytes, the path {_PATH_BYTES_MAX:,}")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return Problem(400, "Content-Length is not a number")
        if len(length) > 18 or int(length) > self._body_bytes_max:
            return self._too_large()
        has_body = int(length) > 0 or "transfer-encoding" in headers
        # With GET and HEAD a body means nothing, and is not read.
        if (
            has_body
            and scope.get("method") not in ("GET", "HEAD")
            and _is_api(scope)
            and not _is_json(headers.get("content-type", ""))
        ):
            return Problem(415, "a body is JSON here: send it as Content-Type: application/json")
        return None

    def _too_large(self) -> Problem:
        return Problem(413, f"a request may have {self._body_bytes_max:,} bytes; see the setting max_body_bytes")

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):
            bare, colon, port = name.rpartition(":")
            name = bare if colon and port.isdigit() else name
        return any(
            name == allowed or (allowed.startswith("*.") and name.endswith(allowed[1:])) or allowed == "*"
            for allowed in self._hosts or ()
        )


def _is_api(scope: Scope) -> bool:
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", "")).startswith("/api/")


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    from starlette.responses import JSONResponse
    from starlette.websockets import WebSocketClose

    if scope["type"] == "websocket":
        await WebSocketClose(1008, problem.detail)(scope, receive, send)
        return
    answer = JSONResponse(problem.to_dict(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
    await answer(scope, receive, send)
