"""A real HTTP server that takes webhooks: what a channel's other end sees."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_PATIENCE_S = 30.0


class Received(NamedTuple):
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The document."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver:
    """What came. `answer` is the status of the next answers; `hang` keeps requests waiting until it is cleared."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer = 204
        self.let_go = threading.Event()
        self.let_go.set()
        self._came = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                receiver.let_go.wait(_PATIENCE_S)
                with receiver._came:
                    receiver.received.append(Received(dict(self.headers.items()), body))
                    receiver._came.notify_all()
                try:
                    self.send_response(receiver.answer)
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                except OSError:  # the caller has given up
                    return

            def log_message(self, *args: object) -> None:
                """Nobody wants to read it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/alerts"

    def wait_for(self, count: int) -> list[Received]:
        """The first `count` requests, as soon as they are there."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.received) >= count, _PATIENCE_S), (
                f"{len(self.received)} of {count} messages came"
            )
            return list(self.received)

    @property
    def alerts(self) -> list[tuple[str, str]]:
        """(kind, rule) of every alert in every message, in their order."""
        return [(one.message["kind"], alert["rule"]) for one in self.received for alert in one.message["alerts"]]

    def close(self) -> None:
        """No more."""
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One of the test's own."""
    found = Receiver()
    try:
        yield found
    finally:
        found.close()
