"""Says to an orchestrator how a worker process is: over HTTP, and by a file that it touches.

A process that computes in C without letting the interpreter go does neither for that time.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Protocol

from prismq.clock import Clock
from prismq.domain.errors import ConfigurationError

_STEP_S = 2.0
_CLIENT_S = 5.0  # for a client that says nothing, or reads nothing


@dataclass(frozen=True)
class ProbeOptions:
    """Where a worker process answers probes. Process number n of a supervisor has the port + n, and the file + `.n`."""

    file: str | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    stale_s: float = 30.0


class State(str, Enum):
    """How a worker process is."""

    STARTING = "starting"
    READY = "ready"  # it looks for work, or has its hands full
    PAUSED = "paused"  # or draining: it claims nothing because it was told so
    STORE_AWAY = "store_away"  # it cannot reach the store, which a restart would not mend
    STUCK = "stuck"  # it has free slots and has not looked for work for too long

    def __str__(self) -> str:
        return self.value


class Answer(NamedTuple):
    """The state, and why."""

    state: State
    reason: str

    @property
    def live(self) -> bool:
        """False where a restart is wanted."""
        return self.state is not State.STUCK

    @property
    def ready(self) -> bool:
        """Whether it takes tasks."""
        return self.state is State.READY

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps({"state": self.state.value, "live": self.live, "ready": self.ready, "reason": self.reason})


class _Pump(Protocol):
    @property
    def claiming(self) -> bool: ...
    @property
    def last_claim_at(self) -> float | None: ...
    @property
    def last_look_at(self) -> float | None: ...
    @property
    def down_since(self) -> float | None: ...


class _Slots(Protocol):
    @property
    def size(self) -> int: ...
    @property
    def busy(self) -> int: ...


class Watched(Protocol):
    """What the probe sees of a worker."""

    @property
    def pump(self) -> _Pump: ...
    @property
    def slots(self) -> _Slots: ...


class Probe:
    """`start()` serves and touches until `close()`; `watch` tells it of the worker, once there is one.

    Raises ConfigurationError where it cannot listen or write.
    """

    def __init__(self, options: ProbeOptions, clock: Clock, *, number: int = 0, poll_s: float = 1.0) -> None:
        self._clock = clock
        self._stale_s = max(options.stale_s, 3 * poll_s)
        self._host = options.host
        self._port = None if options.port is None else options.port + number
        suffix = f".{number}" if number else ""
        self._file = None if options.file is None else Path(f"{options.file}{suffix}")
        self._worker: Watched | None = None
        self._seen: tuple[float | None, float | None] = (None, None)
        self._seen_mono = clock.monotonic()
        self._guard = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int | None:
        """The port that it listens on; None where it does not."""
        return None if self._server is None else int(self._server.server_address[1])

    def watch(self, worker: Watched) -> None:
        """From now on this worker is meant."""
        with self._guard:
            self._worker, self._seen_mono = worker, self._clock.monotonic()

    def answer(self) -> Answer:
        """How the worker is. A look that was noticed counts from when it was noticed: clocks may be set."""
        with self._guard:
            worker, mono = self._worker, self._clock.monotonic()
            if worker is None:
                return Answer(State.STARTING, "the worker has not registered yet")
            pump, slots = worker.pump, worker.slots
            seen = (pump.last_look_at, pump.last_claim_at)
            free = slots.size - slots.busy
            # While it has its hands full it need not look: its patience begins when a slot is free again.
            if seen != self._seen or free <= 0 or not pump.claiming or pump.down_since is not None:
                self._seen, self._seen_mono = seen, mono
            idle_s = mono - self._seen_mono
            if pump.down_since is not None:
                return Answer(State.STORE_AWAY, "the store cannot be reached")
            if not pump.claiming:
                return Answer(State.PAUSED, "it was told to claim nothing")
            if free <= 0:
                return Answer(State.READY, f"all {slots.size} slots are busy")
            if idle_s > self._stale_s:
                return Answer(State.STUCK, f"{free} slots are free, and it has not looked for work for {idle_s:.0f} s")
            if pump.last_look_at is None:
                return Answer(State.STARTING, "it has not looked for work yet")
            return Answer(State.READY, f"it looks for work; {slots.busy} of {slots.size} slots are busy")

    def step(self) -> float:
        """Look at the worker and, where it is live, touch the file; the seconds until the next look."""
        answer = self.answer()
        if self._file is not None and answer.live:
            try:
                _replace(self._file, f"{answer.to_line()}\n")
            except OSError:  # a full disk: the file grows old, and whoever looks at it sees that
                return _STEP_S
        return _STEP_S

    def start(self) -> None:
        """Serve, and touch the file for the first time; nothing where neither was asked for."""
        if self._file is None and self._port is None:
            return
        if self._file is not None:
            try:
                _replace(self._file, f"{self.answer().to_line()}\n")
            except OSError as error:
                raise ConfigurationError(
                    f"probe_file = {str(self._file)!r}: it cannot be written ({error}); give a path in a folder that "
                    f"the worker may write to"
                ) from error
        if self._port is not None:
            try:
                self._server = _Server((self._host, self._port), _handler_of(self))
            except (OSError, OverflowError) as error:
                raise ConfigurationError(
                    f"probe_port = {self._port}: cannot listen on {self._host}:{self._port} ({error}); is another "
                    f"program, or another worker, using it?"
                ) from error
            self._run(partial(self._server.serve_forever, 0.2))
        self._run(self._loop)

    def close(self) -> None:
        """Answer no more; the file goes."""
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for thread in self._threads:
            thread.join(_CLIENT_S)
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _run(self, loop: Callable[[], None]) -> None:
        thread = threading.Thread(target=loop, name="prismq-probe", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._clock.wait(self._stop, self.step())


def _replace(path: Path, text: str) -> None:
    # Whole or not at all: whoever reads it may do so at any moment.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # On Windows it would let a second program take the port.
    allow_reuse_address = os.name != "nt"


def _handler_of(probe: Probe) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_S
        server_version, sys_version = "prismq", ""

        def do_GET(self) -> None:
            answer = probe.answer()
            path = self.path.partition("?")[0]
            if path not in ("/live", "/ready"):
                self._say(HTTPStatus.NOT_FOUND, json.dumps({"error": "there is /live and /ready"}))
                return
            well = answer.live if path == "/live" else answer.ready
            self._say(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, answer.to_line())

        do_HEAD = do_GET  # noqa: N815 - the name is the library's

        def _say(self, status: HTTPStatus, text: str) -> None:
            body = f"{text}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing: it is asked every few seconds."""

    return Handler
