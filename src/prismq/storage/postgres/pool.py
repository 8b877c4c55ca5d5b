"""The connections of one process: opened when wanted, kept for the next, never more than a number.

psycopg_pool opens them in threads of its own: a wrong password would show as a timeout, and a fork would have to
find those threads. Here whoever wants a connection opens it, and gets the reason where that fails.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueBusyError
from prismq.storage.postgres.connection import Connection

# A connection that has rested for longer is asked whether it still is one: firewalls forget quiet ones.
_REST_S = 30.0
# And none lives for ever: after a failover, or a change of names, the next one goes to the right place.
_AGE_S_MAX = 3600.0

# Using or closing connections inherited through fork would end the parent's sessions, so they are kept from the
# garbage collector.
_inherited: list[Any] = []


class Pool:
    """At most `size` connections, made by `connect`. Safe to share between threads and across a fork.

    `wait_s`: how long to wait where all of them are in use. Raises QueueBusyError after that.
    """

    def __init__(self, connect: Callable[[], Connection], size: int, wait_s: float, name: str) -> None:
        self._connect, self._size, self._wait_s, self._name = connect, size, wait_s, name
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._free = threading.BoundedSemaphore(self._size)
        self._resting: deque[tuple[Connection, float]] = deque()
        self._born: dict[Connection, float] = {}
        self._taken: dict[Connection, int] = {}  # by which thread

    def take(self) -> Connection:
        """A live connection, idle and in autocommit mode; `give` it back."""
        if self._pid != os.getpid():
            self._leave_parent()
        if not self._free.acquire(timeout=self._wait_s):
            raise QueueBusyError(
                f"all {self._size} connections of this process to PostgreSQL {self._name} have been in use for "
                f"{self._wait_s:g} s. Raise pool_size in the URL, or hold transactions open for a shorter time"
            )
        try:
            connection = self._resting_one() or self._new_one()
        except BaseException:
            self._free.release()
            raise
        self._taken[connection] = threading.get_ident()
        return connection

    def _new_one(self) -> Connection:
        connection = self._connect()
        self._born[connection] = SYSTEM_CLOCK.monotonic()
        return connection

    def _resting_one(self) -> Connection | None:
        while True:
            try:
                connection, since = self._resting.pop()
            except IndexError:
                return None
            now = SYSTEM_CLOCK.monotonic()
            if now - self._born[connection] < _AGE_S_MAX and _is_alive(connection, now - since > _REST_S):
                return connection
            self._drop(connection)

    def give(self, connection: Connection) -> None:
        """Take back what `take` gave, in whatever state it is."""
        if self._pid != os.getpid() or connection not in self._born:  # the parent's, or of before close()
            return
        self._taken.pop(connection, None)
        try:
            if connection.closed or connection.spoiled or not _is_clean(connection):
                self._drop(connection)
            else:
                self._resting.append((connection, SYSTEM_CLOCK.monotonic()))
        finally:
            self._free.release()

    def _drop(self, connection: Connection) -> None:
        self._born.pop(connection, None)
        connection.close()

    def taken_by(self, thread_id: int) -> list[Connection]:
        """The connections that this thread has in use."""
        return [connection for connection, its in list(self._taken.items()) if its == thread_id]

    def counts(self) -> tuple[int, int]:
        """How many connections are in use, and how many there are."""
        if self._pid != os.getpid():
            return 0, 0
        total = len(self._born)
        return max(0, total - len(self._resting)), total

    def close(self) -> None:
        """Close every connection. The pool can be used again."""
        if self._pid != os.getpid():
            self._leave_parent()
        born = list(self._born)
        self._begin()
        for connection in born:
            connection.close()

    def _leave_parent(self) -> None:
        # This is the one thread that lives on in the child: whatever lock another held will never be released.
        _inherited.extend(self._born)
        self._begin()


def _is_clean(connection: Connection) -> bool:
    """Idle, outside any transaction; one that was left open is rolled back."""
    status = connection.info.transaction_status
    if status == psycopg.pq.TransactionStatus.IDLE:
        return True
    if status not in (psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.INERROR):
        return False
    try:
        connection.rollback()
    except psycopg.Error:
        return False
    return True


def _is_alive(connection: Connection, rested: bool) -> bool:
    """Whether it can be used. A server that went away has said so, or closed: then there is something to read."""
    if connection.closed:
        return False
    if not rested and not _is_readable(connection.fileno()):
        return True
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _is_readable(fileno: int) -> bool:
    if not hasattr(select, "poll"):  # Windows, whose select() has no limit on the number itself
        return bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
