"""Polling that costs little where nothing has changed: an ETag for each answer, 304 where the caller has it already."""

from __future__ import annotations

from hashlib import blake2b

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BYTES_MAX = 4 * 1024 * 1024  # larger answers go out as they come


class Conditional:
    """Gives JSON answers to GET a weak ETag, of their content."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match")
        answer = _Answer(known, send)
        await self._app(scope, receive, answer)


class _Answer:
    """Holds an answer back until it is whole."""

    def __init__(self, known: str | None, send: Send) -> None:
        self._known, self._send = known, send
        self._start: Message | None = None
        self._body: list[bytes] = []
        self._held = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _fits(message):
            self._start = message
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            await self._part(self._start, message)

    async def _part(self, start: Message, message: Message) -> None:
        self._body.append(message.get("body", b""))
        self._held += len(self._body[-1])
        more = message.get("more_body", False)
        if more and self._held <= _BYTES_MAX:
            return
        self._start, body = None, b"".join(self._body)
        if not more:
            etag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
            headers = MutableHeaders(scope=start)
            headers["ETag"] = etag
            # Asked about each time, and kept by nobody but the caller.
            headers["Cache-Control"] = "private, no-cache"
            headers.add_vary_header("Authorization")
            headers.add_vary_header("Cookie")
            if self._known is not None and (self._known.strip() == "*" or etag in _tags(self._known)):
                start["status"], body = 304, b""
                for name in ("content-length", "content-type"):
                    del headers[name]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _fits(start: Message) -> bool:
    headers = Headers(raw=start.get("headers", []))
    return start["status"] == 200 and headers.get("content-type", "") == "application/json" and "etag" not in headers


def _tags(header: str) -> list[str]:
    return [one.strip() if one.strip().startswith("W/") else f"W/{one.strip()}" for one in header.split(",")]
