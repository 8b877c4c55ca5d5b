"""What integration tests share: a worker with short graces, events, and a handler that waits to be released."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from prismq import PrismQ
from prismq.client.handle import TaskHandle
from prismq.config import WorkerConfig
from prismq.domain.events import Event
from prismq.worker.embedded import EmbeddedWorker
from prismq.worker.settings import options_of
from tests.helpers.processes import wait_until

E = TypeVar("E")
WAIT_S = 15.0


def a_worker(q: PrismQ, *, stop_grace_s: float = 0.2, **config: Any) -> EmbeddedWorker:
    """An embedded worker that takes stronger means early."""
    config.setdefault("concurrency", 4)
    config.setdefault("shutdown_grace_seconds", 2.0)
    config.setdefault("poll_interval_seconds", 0.2)
    options = replace(options_of(WorkerConfig(**config)), stop_grace_s=stop_grace_s)
    return EmbeddedWorker(q, options, rng=Random(1))


class Seen:
    """A listener that keeps every event."""

    def __init__(self, q: PrismQ) -> None:
        self.all: list[Event] = []
        q.listen(self.all.append)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind so far."""
        return [event for event in self.all if isinstance(event, kind)]

    def wait(self, kind: type[E], where: Callable[[E], bool] = lambda event: True) -> E:
        """The first event of this kind, when it has come."""
        return wait_until(lambda: [event for event in self.of(kind) if where(event)], f"a {kind.__name__}", WAIT_S)[0]


class Gate:
    """A handler enters and waits; the test sees that it is there, and lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()

    def pass_through(self, step_s: float = 0.01) -> None:
        """Called by a handler; it can be interrupted between two short waits."""
        self.entered.release()
        while not self._open.wait(step_s):
            continue

    def block(self) -> None:
        """Called by a handler; waits where no interrupt reaches it."""
        self.entered.release()
        self._open.wait()

    def wait_entered(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=WAIT_S), "the handler did not start"

    def open(self) -> None:
        self._open.set()


def wait_status(handle: TaskHandle[Any], *statuses: str) -> str:
    """Wait until the task's state (`cancelling` included) is one of these."""
    wait_until(lambda: handle.task().state in statuses, f"task {handle.id} is {' or '.join(statuses)}", WAIT_S)
    return handle.task().state
