"""The connections of a process: one for each thread, closed with it, and left alone in a fork."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

# Connections inherited through fork: using or closing them in the child would break the parent's locks,
# so they are kept from the garbage collector.
_inherited: list[Any] = []


class _Held:
    """A connection as long as its thread lives: when the thread ends, this goes, and the connection is closed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()
        self.thread_id = threading.get_ident()
        weakref.finalize(self, _close, connection, self.pid)


def _close(connection: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        connection.close()
    else:
        _inherited.append(connection)


def _uses_the_store(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("prismq.storage.sqlite"):
            return True
        frame = frame.f_back
    return False


def _is_active(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:  # its thread has just ended, and closed it
        return False


class Local(threading.local):
    """What a thread has: its connection, and the transaction that is open on it."""

    owner: object = None  # of the open transaction; who is inside knows it
    depth: int = 0  # of nested transactions
    connection: sqlite3.Connection | None = None
    held: _Held | None = None


class Connections:
    """One for each thread, by `connect`; all threads have the same one where it `is_shared`. Safe across a fork."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, is_shared: bool) -> None:
        self._connect = connect
        self._is_shared = is_shared
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._local = Local()
        self._shared: _Held | None = None
        self._opened: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._outliving: list[_Held] = []  # closed, but for a thread that was inside of a statement
        self._guard = threading.Lock()
        self._writer = threading.RLock()

    @property
    def local(self) -> Local:
        """This thread's part."""
        if self._pid != os.getpid():
            self._leave_parent()
        return self._local

    @property
    def writer(self) -> threading.RLock:
        """The lock that threads of this process queue up at before they write."""
        if self._pid != os.getpid():
            self._leave_parent()
        return self._writer

    def get(self) -> sqlite3.Connection:
        """This thread's connection, opened now if it has none yet."""
        if self._pid != os.getpid():
            self._leave_parent()
        return self._local.connection or self._open()

    def _open(self) -> sqlite3.Connection:
        with self._guard:
            if self._outliving:
                outliving, self._outliving = self._outliving, []
                self._let_go(outliving)
            held = self._shared
            if held is None:
                held = _Held(self._connect())
                self._opened.add(held)
                if self._is_shared:
                    self._shared = held
        local = self._local
        local.held, local.connection, local.depth = held, held.connection, 0
        return held.connection

    def _leave_parent(self) -> None:
        # This is the one thread that lives on in the child: whatever lock another held will never be released.
        _inherited.extend([*self._opened, *self._outliving])
        self._begin()

    def counts(self) -> tuple[int, int]:
        """How many of this process are inside a transaction, and how many there are."""
        with self._guard:
            opened = [held.connection for held in self._opened if held.pid == os.getpid()]
        return sum(map(_is_active, opened)), len(opened)

    def interrupt(self, thread_id: int) -> None:
        """Break off what that thread's connection does: its statement raises QueueBusyError."""
        with self._guard:
            theirs = [held.connection for held in self._opened if held.thread_id == thread_id]
            for connection in theirs:
                # Closed, as its thread has just ended: then there is nothing to break off.
                with suppress(sqlite3.ProgrammingError):
                    connection.interrupt()

    def close(self) -> None:
        """Close all of this process; one that another thread is just using, when that thread is done."""
        if self._pid != os.getpid():
            self._leave_parent()
        with self._guard:
            opened = [*self._opened, *self._outliving]
            self._opened, self._shared, self._local = weakref.WeakSet(), None, Local()
            self._outliving = []
        self._let_go(opened)

    def _let_go(self, opened: list[_Held]) -> None:
        """Close these. A statement that another thread is inside of must keep its connection, or Python would crash."""
        frames = sys._current_frames()
        at_work = {thread_id for thread_id, frame in frames.items() if _uses_the_store(frame)} - {threading.get_ident()}
        for held in opened:
            if held.thread_id in at_work or (self._is_shared and at_work):
                self._outliving.append(held)
            else:
                held.connection.close()
