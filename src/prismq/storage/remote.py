"""Hints that travel over a network: each side has a thread, so that nobody waits for the network or its loss."""

from __future__ import annotations

import atexit
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from prismq.clock import Clock
from prismq.storage.wakeup import Told

_SPACING_S = 0.002  # between two announcements; what comes meanwhile is one
NEWS_SPACING_S = 0.25  # the same for those who only watch
_RETRY_S = (0.2, 10.0)  # at first, and at most, after a loss
_FLUSH_S = 1.0  # how long the end of a program waits for its last announcement

# Opens a connection; the iterator it yields gives a value for each look, True where a hint had come.
Subscription = Callable[[], AbstractContextManager[Iterator[bool]]]


class RemoteAnnouncer:
    """Announces by calling `send` in a thread of its own. What `send` raises is let go: the workers poll."""

    def __init__(self, send: Callable[[], None], clock: Clock, spacing_s: float = _SPACING_S) -> None:
        self._send = send
        self._clock = clock
        self._spacing_s = spacing_s
        self._pid = -1
        self._guard = threading.Lock()
        self._renew()

    def _renew(self) -> None:
        self._wanted, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def announce(self) -> None:
        """See Announcer.announce."""
        if self._thread is None or self._pid != os.getpid():
            self._start()
        self._idle.clear()
        self._wanted.set()

    def _start(self) -> None:
        with self._guard:
            if self._pid != os.getpid():  # a child of fork has the object and not its thread
                self._renew()
                self._pid = os.getpid()
                atexit.register(_flush, weakref.ref(self))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prismq-announcer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self._send()
                wait_s = self._spacing_s
            except Exception:  # noqa: BLE001 - whatever the driver raises: a hint is not worth an error
                wait_s = _RETRY_S[0]
            if not self._wanted.is_set():
                self._idle.set()
            self._clock.wait(pause, wait_s)

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Wait until what was announced is out."""
        if self._pid == os.getpid():
            self._clock.wait(self._idle, timeout_s)

    def close(self) -> None:
        """See Announcer.close."""
        self.flush()


def _flush(announcer: weakref.ref[RemoteAnnouncer]) -> None:
    # A script that enqueues and ends would else take its hint with it.
    alive = announcer()
    if alive is not None:
        alive.flush()


class RemoteEar:
    """Listens in a thread, connects anew when it must, and passes hints on through a pair of sockets.

    `told` hears of a loss once, and of its end once. After a loss there is a hint: something may have been missed.
    """

    port: int | None = None

    def __init__(self, subscribe: Subscription, clock: Clock, told: Told) -> None:
        self._subscribe = subscribe
        self._clock = clock
        self._told = told
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._stop = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._run, name="prismq-ear", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """See Ear.fileno."""
        return self._near.fileno()

    def heard(self) -> bool:
        """See Ear.heard."""
        if self._near.fileno() < 0:
            raise OSError("closed")
        try:
            while self._near.recv(64):
                continue
        except OSError:  # drained
            pass
        return True

    def _run(self) -> None:
        wait_s = _RETRY_S[0]
        while not self._stop.is_set():
            try:
                with self._subscribe() as looks:
                    self._well()
                    wait_s = _RETRY_S[0]
                    for hint in looks:
                        if hint:
                            self._hint()
                        if self._stop.is_set():
                            return
                raise ConnectionError("the connection ended")
            except Exception as error:  # noqa: BLE001 - whatever the driver raises, it is tried again
                if self._stop.is_set():
                    return
                if self._lost is None:
                    self._lost = f"{type(error).__name__}: {error}".strip()
                    self._told(self._lost)
            self._clock.wait(self._stop, wait_s)
            wait_s = min(wait_s * 2, _RETRY_S[1])

    def _well(self) -> None:
        if self._lost is not None:
            self._lost = None
            self._told(None)
        self._hint()

    def _hint(self) -> None:
        try:
            self._far.send(b"h")
        except OSError:  # full of hints already, or closed
            return

    def close(self) -> None:
        """See Ear.close. The thread ends with its next look."""
        self._stop.set()
        self._thread.join(2.0)
        self._near.close()
        self._far.close()
