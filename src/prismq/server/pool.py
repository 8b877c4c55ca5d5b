"""Where requests meet the database: a few threads that keep their connections, and a time limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from prismq.server.problems import Problem
from prismq.server.threads import Threads

R = TypeVar("R")


class _Job:
    """A function that a thread runs, or will."""

    def __init__(self) -> None:
        self.thread_id: int | None = None  # while it runs


class Pool:
    """`threads` at a time; `waiting_max` more may wait, and the rest is turned away at once.

    `interrupt` breaks off what a thread asks of the database.
    """

    def __init__(
        self, threads: int, interrupt: Callable[[int], None], *, name: str = "prismq-http", waiting_max: int = 256
    ) -> None:
        self._threads = Threads(threads, name)
        self._interrupt = interrupt
        self._size = threads
        self._room = threads + waiting_max
        self._inside = 0
        self._guard = threading.Lock()

    async def run(self, function: Callable[[], R], timeout_s: float | None) -> R:
        """The function's result. Raises Problem 503 where too many wait, or where it takes longer than `timeout_s`:
        then the statement that it waits for is broken off, and its thread is free again."""
        if self._inside >= self._room:
            raise Problem(503, "too many requests wait for the database", headers={"Retry-After": "1"})
        job = _Job()

        def run() -> R:
            with self._guard:
                job.thread_id = threading.get_ident()
            try:
                return function()
            finally:
                with self._guard:
                    job.thread_id = None

        loop = asyncio.get_running_loop()
        try:
            future: Future[R] = self._threads.submit(run)
        except RuntimeError as error:  # closed meanwhile
            raise Problem(503, "the server is stopping") from error
        self._inside += 1
        waiting = asyncio.wrap_future(future, loop=loop)
        waiting.add_done_callback(self._left)
        done, _ = await asyncio.wait({waiting}, timeout=timeout_s)
        if done:
            return waiting.result()
        # Not while holding up the loop: PostgreSQL is told over a connection of its own.
        threading.Thread(target=self._break_off, args=(job,), name="prismq-http-interrupt", daemon=True).start()
        future.cancel()
        raise Problem(
            503,
            f"the database took longer than {timeout_s:g} s, as long as the setting query_timeout_seconds allows",
            title="Database Busy",
            headers={"Retry-After": "5"},
        )

    def _break_off(self, job: _Job) -> None:
        # With the guard held it stays the job of this thread: the next one must not be hit.
        with self._guard:
            if job.thread_id is not None:
                self._interrupt(job.thread_id)

    def _left(self, waiting: asyncio.Future[R]) -> None:
        self._inside -= 1
        if not waiting.cancelled():
            waiting.exception()  # whoever gave up does not look at it

    def slots(self) -> tuple[int, int]:
        """How many threads are at work, that of whoever asks left aside, and how many there are."""
        return max(0, min(self._inside, self._size) - 1), self._size

    def close(self) -> None:
        """Take no more, and let what runs end."""
        self._threads.close()
