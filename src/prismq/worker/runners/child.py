"""The child's side of `executor="process"`: one task at a time, in a process that its parent may kill.

Messages are tuples over a pipe. To the child: ("run", lease, timeout) · ("stop", why) · None to end.
To the parent: ("log", level, message, details) · ("progress", text) · ("started",) ·
("done", result) · ("raised", to, delay_s, counts, error, reason) · ("within",) and ("ready",).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from random import Random
from typing import Any

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.lease import Lease
from prismq.storage.contract import WorkStore
from prismq.worker.application import Application
from prismq.worker.attempt import Attempt, Why
from prismq.worker.journal import Journal
from prismq.worker.loading import load
from prismq.worker.runners.base import Surroundings
from prismq.worker.runners.threads import ThreadRunner
from prismq.worker.slots import Slots


class _PipeJournal(Journal):
    """A journal whose words go to the parent at once."""

    def __init__(self, send: Any) -> None:
        super().__init__(log_level="DEBUG")
        self._send = send

    def started(self, attempt: Attempt) -> None:
        self._send(("started", attempt.started_at))

    def log(self, attempt: Attempt, at: float, level: str, message: str, details: str | None) -> None:
        self._send(("log", at, level, message, details))

    def progress(self, attempt: Attempt, text: str) -> None:
        self._send(("progress", text))

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


def main(pipe: Connection, app: str, database: str | None) -> None:
    """Serve tasks until the pipe ends."""
    send_lock = threading.Lock()

    def send(message: tuple[Any, ...]) -> None:
        with send_lock:
            pipe.send(message)

    loaded = load(app, database)
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
            return
        send(_run(loaded, message[1], current, send))


def _run(loaded: Application, lease: Lease, current: list[Attempt], send: Any) -> tuple[Any, ...]:
    handler = loaded.handlers[lease.type]
    attempt = Attempt(lease, handler)
    store: Any = _ChildStore(loaded.store.work, send)
    surroundings = Surroundings(store, _PipeJournal(send), SYSTEM_CLOCK, Random(), loaded.around)
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
