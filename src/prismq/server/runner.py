"""Listening: the application under uvicorn, in this thread or beside a worker."""

from __future__ import annotations

import gc
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from prismq.app import PrismQ
from prismq.config import Settings
from prismq.domain.errors import ConfigurationError
from prismq.server.app import create_app
from prismq.server.settings import ServerSettings, check_exposure, is_loopback

_HEADER_BYTES_MAX = 32 * 1024
_MESSAGE_BYTES_MAX = 16 * 1024  # of a WebSocket: watchers have nothing to say
_CONNECTIONS_MAX = 2_000
_GRACE_S = 10


def address_of(settings: ServerSettings) -> str:
    """Where the server is found, as a URL."""
    scheme = "https" if settings.tls_certificate else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - named, not bound
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme}://{host}:{settings.port}{settings.root_path}"


def prepare(q: PrismQ, settings: ServerSettings, configured: Settings | None = None) -> tuple[FastAPI, socket.socket]:
    """The application, and the socket it will be served on. Raises ConfigurationError where strangers could reach a
    server that asks nobody who they are, or where the address is taken."""
    if not is_loopback(settings.host):
        check_exposure(settings, has_tokens=settings.auth != "off" and bool(q.store.accounts.tokens()))
    return create_app(q, settings, configured=configured), _bound(settings)


def keep_what_is_loaded() -> None:
    """Have the garbage collector pass over all that there is now, because it is there for good: each full round would
    look through it again, and hold up every answer for some 0.1 s. For a process that exists for this server."""
    gc.collect()
    gc.freeze()


def _bound(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    try:
        family, *_, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on host = {settings.host!r}, port = {settings.port}: {error.strerror or error}. Choose "
            f"another with --host and --port"
        ) from error


class _Server(uvicorn.Server):
    """Ends with code 0 on Ctrl-C and SIGTERM, as a worker does: uvicorn's own would die of the signal it has obeyed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), self.handle_exit) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)


def _configured(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    extra: dict[str, Any] = {}
    if settings.tls_certificate and settings.tls_key:
        extra = {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
    return _Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies or None,
            limit_concurrency=_CONNECTIONS_MAX,
            h11_max_incomplete_event_size=_HEADER_BYTES_MAX,
            ws_max_size=_MESSAGE_BYTES_MAX,
            ws_max_queue=4,
            timeout_graceful_shutdown=_GRACE_S,
            **extra,
        )
    )


def serve(app: FastAPI, listening: socket.socket, settings: ServerSettings) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with listening:
        _configured(app, settings).run(sockets=[listening])


class Beside:
    """A server in a thread of its own, as long as the block lasts: `with Beside(app, listening, settings): ...`"""

    def __init__(self, app: FastAPI, listening: socket.socket, settings: ServerSettings) -> None:
        self._server, self._listening = _configured(app, settings), listening
        self._thread = threading.Thread(target=self._run, name="prismq-server", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._listening])

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(_GRACE_S + 5)
        self._listening.close()
