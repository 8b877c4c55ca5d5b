"""Who may run now: the claimed tasks that wait, and the free slots they wait for.

Threads take the next task themselves, so that a short one costs no round trip through another thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from prismq.worker.attempt import Attempt


class Slots:
    """`size` slots, shared by tasks that run in threads and tasks that run on the event loop."""

    def __init__(self, size: int) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._size = size
        self._busy = 0
        self._for_threads: deque[Attempt] = deque()
        self._for_loop: deque[Attempt] = deque()
        self._idle_threads = 0
        self._threads = 0
        self._closed = False
        self.on_loop_work: Callable[[], None] = lambda: None
        self.start_thread: Callable[[], None] = lambda: None
        self.on_idle: Callable[[], None] = lambda: None

    @property
    def size(self) -> int:
        """How many may run at once."""
        return self._size

    @property
    def busy(self) -> int:
        """How many run."""
        return self._busy

    @property
    def waiting(self) -> int:
        """How many are claimed and wait for a slot."""
        return len(self._for_threads) + len(self._for_loop)

    def put(self, attempts: Iterable[Attempt]) -> None:
        """Hand over claimed tasks, in the order they should start."""
        with self._changed:
            for attempt in attempts:
                handler = attempt.handler
                on_loop = handler is not None and handler.is_async and handler.executor != "process"
                (self._for_loop if on_loop else self._for_threads).append(attempt)
            wanted = min(len(self._for_threads), self._size)
            missing = max(0, min(wanted - self._idle_threads, self._size - self._threads))
            self._threads += missing
            self._changed.notify(wanted)
            tell_loop = bool(self._for_loop)
        for _ in range(missing):
            self.start_thread()
        if tell_loop:
            self.on_loop_work()

    def next_for_thread(self) -> Attempt | None:
        """The next task for a thread; waits for one.

        None where the thread should end: closed, or more threads than slots.
        """
        with self._changed:
            self._idle_threads += 1
            try:
                while not (self._for_threads and self._busy < self._size):
                    if self._closed or self._threads > self._size:
                        self._threads -= 1
                        return None
                    self._changed.wait()
                self._busy += 1
                return self._for_threads.popleft()
            finally:
                self._idle_threads -= 1

    def free(self) -> None:
        """A thread's task has ended, and the thread asks for the next one: no other need wake up for it."""
        with self._changed:
            self._busy -= 1
            tell_loop = bool(self._for_loop)
        if tell_loop:
            self.on_loop_work()

    def next_for_loop(self) -> Attempt | None:
        """The next task for the event loop, or None where there is none or no slot is free."""
        with self._changed:
            if not self._for_loop or self._busy >= self._size:
                return None
            self._busy += 1
            return self._for_loop.popleft()

    def give_back(self) -> None:
        """A task of the loop has ended; its slot is free."""
        with self._changed:
            self._busy -= 1
            if self._for_threads and self._idle_threads:
                self._changed.notify()
            tell_loop = bool(self._for_loop)
            idle = not self._busy and not tell_loop and not self._for_threads
        if tell_loop:
            self.on_loop_work()
        elif idle:
            self.on_idle()

    def resize(self, size: int) -> None:
        """More or fewer slots from now on; running tasks are left alone."""
        with self._changed:
            self._size = size
            self._changed.notify_all()
        self.put(())

    def withdraw(self) -> list[Attempt]:
        """Take back every task that has not started."""
        with self._changed:
            left = [*self._for_threads, *self._for_loop]
            self._for_threads.clear()
            self._for_loop.clear()
        return left

    def close(self) -> None:
        """Let the idle threads end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
