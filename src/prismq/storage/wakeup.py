"""Hints that there is work: lossy, cheap, and never the truth. A poll remains beneath."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from prismq.clock import Clock
from prismq.domain.errors import QueueDatabaseError


class Announcer(Protocol):
    """The side that enqueues."""

    def announce(self) -> None:
        """Tell whoever listens that something changed. Never raises, never blocks."""
        ...

    def close(self) -> None:
        """Let go of what it holds; it can be used again."""
        ...


_REFRESH_S = 1.0  # how long a new worker may go untold; it polls meanwhile


class LoopbackAnnouncer:
    """One datagram to each live worker process of this machine, at the port it left in the store.

    `ports` asks the store; its answer is kept for a second.
    """

    def __init__(self, ports: Callable[[], list[int]], clock: Clock) -> None:
        self._ports = ports
        self._clock = clock
        self._socket: socket.socket | None = None
        self._known: list[int] = []
        self._asked_at = float("-inf")

    def announce(self) -> None:
        """See Announcer.announce."""
        now = self._clock.monotonic()
        if now - self._asked_at > _REFRESH_S:
            self._asked_at = now
            try:
                self._known = self._ports()
            except QueueDatabaseError:  # a hint is not worth an error; the worker polls
                self._known = []
        if not self._known:
            return
        if self._socket is None:
            try:
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            except OSError:  # no file descriptor left: the task is enqueued all the same
                return
            self._socket.setblocking(False)
        for port in self._known:
            try:
                self._socket.sendto(b"q", ("127.0.0.1", port))
            except (OSError, OverflowError):  # nobody there, no such port, or the buffer is full of hints already
                continue

    def close(self) -> None:
        """Let go of the socket; the next announcement opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Ear(Protocol):
    """The side that works. Something to select on, so that one thread can wait for several of them."""

    @property
    def port(self) -> int | None:
        """The loopback port at which it is to be told, where that is the way; it goes into the worker's row."""
        ...

    def fileno(self) -> int:
        """The socket to wait for."""
        ...

    def heard(self) -> bool:
        """Take in what has come, without waiting; those that have gathered count as one. False: it was no hint.

        Raises OSError where nothing will come any more.
        """
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class LoopbackEar:
    """A datagram socket on loopback. Anyone there may send; a hint only makes the worker look. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("127.0.0.1", 0))
            self._socket.setblocking(False)
            self.port: int | None = self._socket.getsockname()[1]
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """See Ear.fileno."""
        return self._socket.fileno()

    def heard(self) -> bool:
        """See Ear.heard."""
        if self._socket.fileno() < 0:
            raise OSError("closed")
        for _ in range(1000):
            try:
                self._socket.recv(16)
            except OSError:  # drained; or, on Windows, the echo of a hint that somebody did not want
                break
        return True

    def close(self) -> None:
        """See Ear.close."""
        self._socket.close()


Told = Callable[[str | None], None]  # why hints do not come just now; None: they come again


class Wakeups(Protocol):
    """The two sides of one way to carry hints."""

    def announcer(self, clock: Clock) -> Announcer:
        """For those who enqueue."""
        ...

    def ear(self, clock: Clock, told: Told) -> Ear | None:
        """For a worker; None where there is none to be had, and polling is all there is. `told` may come from
        another thread."""
        ...

    def news(self) -> Wakeups | None:
        """For those who watch: its announcer is for workers, after tasks changed, and its ear hears new tasks as
        well. None where watching is polling."""
        ...


class LoopbackWakeups:
    """Datagrams to the workers of this machine."""

    def __init__(self, ports: Callable[[], list[int]]) -> None:
        self._ports = ports

    def announcer(self, clock: Clock) -> Announcer:
        """See Wakeups.announcer."""
        return LoopbackAnnouncer(self._ports, clock)

    def ear(self, clock: Clock, told: Told) -> Ear | None:
        """See Wakeups.ear."""
        try:
            return LoopbackEar()
        except OSError as error:  # no loopback in this sandbox
            told(f"no loopback port could be opened: {error}")
            return None

    def news(self) -> Wakeups | None:
        """See Wakeups.news: a look at the file costs no more than a datagram."""
        return None
