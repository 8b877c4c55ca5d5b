"""Threads that take the work of a pool: the one that rested last comes first.

concurrent.futures goes round all of its threads. Each has its own connection to the database, and one that has seen
the last write still has its pages in memory, where the others have to read them again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

_Job = tuple["Future[Any]", Callable[[], Any]]


class Threads:
    """At most `size` threads, started when they are wanted, that live until `close`."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._guard = threading.Lock()
        self._resting: list[SimpleQueue[_Job | None]] = []  # the inboxes of threads that wait, the last one on top
        self._waiting: deque[_Job] = deque()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, function: Callable[[], R]) -> Future[R]:
        """Have a thread call `function`. Raises RuntimeError after `close`."""
        future: Future[R] = Future()
        job: _Job = (future, function)
        with self._guard:
            if self._closed:
                raise RuntimeError("closed")
            if self._resting:
                self._resting.pop().put(job)
            elif len(self._threads) < self._size:
                thread = threading.Thread(
                    target=self._work, args=(job,), name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            else:
                self._waiting.append(job)
        return future

    def _work(self, first: _Job) -> None:
        inbox: SimpleQueue[_Job | None] = SimpleQueue()
        job: _Job | None = first
        while job is not None:
            _do(*job)
            del job  # what it holds is not to be kept while this thread rests
            job = self._next(inbox)

    def _next(self, inbox: SimpleQueue[_Job | None]) -> _Job | None:
        with self._guard:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                return None
            self._resting.append(inbox)
        return inbox.get()

    def close(self) -> None:
        """Take no more. What runs, ends; what waits is cancelled."""
        with self._guard:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            resting, self._resting = self._resting, []
        for future, _ in waiting:
            future.cancel()
        for inbox in resting:
            inbox.put(None)
        for thread in self._threads:
            thread.join()


def _do(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the answer
        future.set_exception(error)
    else:
        future.set_result(result)
