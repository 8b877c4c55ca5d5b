"""What a thread waits on that is woken by other threads and by hints from outside alike."""

from __future__ import annotations

import selectors
import socket

from prismq.storage.wakeup import Ear


class Bell:
    """`ring()` from any thread, `wait()` from one. Its sockets are opened with the first ear or the first wait."""

    def __init__(self) -> None:
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._rung = False

    def _open(self) -> None:
        if self._far is None:
            self._near, far = socket.socketpair()
            self._near.setblocking(False)
            far.setblocking(False)
            self._selector.register(self._near, selectors.EVENT_READ)
            self._far = far

    def add(self, ear: Ear) -> None:
        """Wake up for this ear too; while nobody waits."""
        self._open()
        self._selector.register(ear.fileno(), selectors.EVENT_READ, ear)

    def ring(self) -> None:
        """Wake the thread that waits, or have its next wait end at once."""
        if self._rung:
            return
        self._rung = True
        self.wake()

    def wake(self) -> None:
        """End the wait, without having rung: the thread is to look anew how long it should wait."""
        if self._far is None:  # nobody has waited yet
            return
        try:
            self._far.send(b"r")
        except OSError:  # full already, or closed
            return

    @property
    def rung(self) -> bool:
        """Whether somebody rang since `still()`."""
        return self._rung

    def still(self) -> None:
        """What was rung for is about to be seen to."""
        self._rung = False

    def wait(self, timeout_s: float) -> bool:
        """Wait until somebody rings, a hint comes or the time is over; True for a hint."""
        self._open()
        hinted = False
        # Looked at after the sockets are there: whoever rang before could not wake anybody.
        for key, _ in self._selector.select(0 if self._rung else timeout_s):
            if key.data is None:
                self._quieten()
                continue
            try:
                hinted = key.data.heard() or hinted
            except OSError:  # nothing will come any more: polling alone from here on
                self._selector.unregister(key.fileobj)
        return hinted

    def _quieten(self) -> None:
        try:
            while self._near is not None and self._near.recv(64):
                continue
        except OSError:
            return

    def close(self) -> None:
        """Let go of the sockets. Rings are ignored from now on."""
        self._rung = True
        self._selector.close()
        for end in (self._near, self._far):
            if end is not None:
                end.close()
