"""The child's side of `executor="process"`: one task at a time, in a process that its parent may kill.

Messages are tuples over a pipe. To the child: ("run", lease, trace headers) · ("stop", why) · None to end.
To the parent: ("log", at, level, message, details) · ("progress", text) · ("bound", fields) ·
("spans", JSON) · ("result", text) · ("started", at) · ("within",) · ("ended", …) and ("ready",).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random
from typing import Any

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.lease import Lease
from prismq.storage.contract import WorkStore
from prismq.worker.application import Application
from prismq.worker.attempt import Attempt, Why
from prismq.worker.capture import Capture
from prismq.worker.journal import Journal, cost_of
from prismq.worker.loading import load
from prismq.worker.options import CaptureOptions, LogLevel
from prismq.worker.runners.base import AttemptTrace, Surroundings, Tracing
from prismq.worker.runners.threads import ThreadRunner
from prismq.worker.slots import Slots

_FLUSH_S = 0.4  # at the end; the parent waits for little longer


@dataclass(frozen=True)
class ChildSetup:
    """What a child is told at its start: what of its tasks' words is kept, and the log of the program it is part of.

    `program_log`: the level, and whether lines are JSON; None where the program's own code sets its logging up.
    """

    capture: CaptureOptions = field(default=CaptureOptions(None))
    task_log_level: LogLevel = "DEBUG"
    program_log: tuple[str, bool] | None = None


class _PipeJournal(Journal):
    """A journal whose words go to the parent at once."""

    def __init__(self, send: Any, log_level: LogLevel) -> None:
        super().__init__(log_level=log_level)
        self._send = send

    def started(self, attempt: Attempt) -> None:
        self._send(("started", attempt.started_at))

    def log(self, attempt: Attempt, at: float, level: str, message: str, details: str | None) -> None:
        if self.takes(attempt, level):
            attempt.logs_left -= cost_of(message, details)  # the parent counts alike, and marks the cut
            self._send(("log", at, level, message, details))

    def bind(self, attempt: Attempt, fields: dict[str, Any]) -> None:
        self._send(("bound", fields))

    def spans(self, attempt: Attempt, trace_id: str, text: str) -> None:
        self._send(("spans", text))

    def progress(self, attempt: Attempt, text: str) -> None:
        self._send(("progress", text))

    def offered(self, attempt: Attempt) -> None:
        attempt.offered = True
        self._send(("offered",))

    def result(self, attempt: Attempt, text: str | None) -> None:
        self._send(("result", text))


class _ChildStore:
    """The little of a WorkStore that a handler can reach: its own transaction."""

    def __init__(self, store: WorkStore, send: Any) -> None:
        self._store = store
        self._send = send

    @contextmanager
    def own_transaction(self) -> Iterator[Any]:
        with self._store.own_transaction() as connection:
            yield connection
        self._send(("within",))

    def complete_within(self, connection: Any, settlement: Any) -> None:
        self._store.complete_within(connection, settlement)


class _Continued:
    """Goes on with the trace of the attempt that the parent has begun."""

    def __init__(self, tracing: Tracing, carrier: dict[str, str]) -> None:
        self._tracing = tracing
        self._carrier = carrier

    def execute(self, lease: Lease) -> AttemptTrace | None:
        return self._tracing.go_on(self._carrier)

    def go_on(self, carrier: dict[str, str]) -> AttemptTrace | None:
        return self._tracing.go_on(carrier)

    def flush(self, timeout_s: float) -> None:
        self._tracing.flush(timeout_s)


def main(pipe: Connection, app: str, database: str | None, setup: ChildSetup) -> None:
    """Serve tasks until the pipe ends."""
    send_lock = threading.Lock()

    def send(message: tuple[Any, ...]) -> None:
        with send_lock:
            pipe.send(message)

    loaded = load(app, database)
    if setup.program_log is not None:
        level, as_json = setup.program_log
        loaded.configure_logging(level, as_json=as_json, least=setup.capture.level)
    Capture(setup.capture).start()
    current: list[Attempt] = []
    inbox: list[Any] = []
    arrived = threading.Semaphore(0)

    def read() -> None:
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                # The worker is gone, and with it the lease: whatever runs here must not go on.
                os._exit(70)
            if message is not None and message[0] == "stop":
                why: Why = message[1]
                for attempt in current[:1]:  # a copy: the end of the task empties the list
                    attempt.tell_to_stop(why, SYSTEM_CLOCK.monotonic())
                    while not attempt.nudge():
                        SYSTEM_CLOCK.wait(threading.Event(), 0.002)
                continue
            inbox.append(message)
            arrived.release()
            if message is None:
                return

    threading.Thread(target=read, name="prismq-parent", daemon=True).start()
    send(("ready",))
    while True:
        arrived.acquire()
        message = inbox.pop(0)
        if message is None:
            if loaded.tracing is not None:
                loaded.tracing.flush(_FLUSH_S)
            return
        send(_run(loaded, setup, message[1], message[2], current, send))


def _run(
    loaded: Application,
    setup: ChildSetup,
    lease: Lease,
    carrier: dict[str, str] | None,
    current: list[Attempt],
    send: Any,
) -> tuple[Any, ...]:
    handler = loaded.handlers[lease.type]
    attempt = Attempt(lease, handler)
    store: Any = _ChildStore(loaded.store.work, send)
    tracing = loaded.tracing
    surroundings = Surroundings(
        store,
        _PipeJournal(send, setup.task_log_level),
        SYSTEM_CLOCK,
        Random(),
        loaded.around,
        tracing=None if tracing is None or carrier is None else _Continued(tracing, carrier),
        capture=setup.capture,
        redactor=loaded.redactor,
    )
    runner = ThreadRunner(Slots(1), surroundings)
    current.append(attempt)
    try:
        ending = runner.run(attempt)
    finally:
        current.clear()
    return (
        "ended",
        ending.to.value,
        ending.result,
        ending.error,
        ending.delay_s,
        ending.counts,
        ending.reason,
    )
