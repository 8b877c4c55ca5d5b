"""Requests that are given to an ASGI application as a server gives them, without a socket."""

from __future__ import annotations

from typing import Any

Headers = list[tuple[bytes, bytes]]


async def request(
    app: Any,
    method: str,
    path: str,
    headers: Headers,
    body: bytes = b"",
    *,
    query: str = "",
    expect: tuple[int, ...] = (200,),
) -> int:
    """One request; the bytes of the answer. Raises RuntimeError for a status that is not expected."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()), *headers],
    }  # fmt: skip
    status, size = 0, 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, size
        status = message.get("status", status)
        size += len(message.get("body", b""))

    await app(scope, receive, send)
    if status not in expect:
        raise RuntimeError(f"{method} {path}?{query} answered {status}")
    return size
