"""`q.testing()`: enqueues go to a temporary database, and run in the calling thread."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

from prismq.client.task import TaskFunction
from prismq.clock import Clock
from prismq.domain.events import Event, TaskEnqueued, TasksEnqueued
from prismq.domain.task import Task, TaskFilter
from prismq.observability.fanout import Listener
from prismq.storage.contract import Store
from prismq.storage.open import open_store
from prismq.testing.clock import ManualClock
from prismq.worker.application import Application
from prismq.worker.attempt import Attempt
from prismq.worker.claimer import Claimer
from prismq.worker.journal import Journal
from prismq.worker.options import WorkerOptions
from prismq.worker.pump import Pump
from prismq.worker.runners.base import Surroundings, handler_of
from prismq.worker.runners.loop import LoopRunner
from prismq.worker.runners.threads import ThreadRunner
from prismq.worker.slots import Slots


class Testable(Application, Protocol):
    """An application whose store and clock can be exchanged for a while."""

    def rewired(self, store: Store, clock: Clock) -> AbstractContextManager[None]:
        """Use another store and clock inside the block."""
        ...

    def listen(self, listener: Listener) -> Listener:
        """Call `listener` with every event."""
        ...

    def unlisten(self, listener: Listener) -> None:
        """Call it no more."""
        ...


_WORKER = "testing"
_RUNS_MAX = 10_000  # tasks that enqueue each other for ever should fail the test, not hang it


class TestingQueue:
    """What a test can see and do. Tasks of `executor="process"` run in the test's own thread, too."""

    __test__ = False  # for pytest: this is no test class

    def __init__(self, app: Testable, clock: ManualClock) -> None:
        self._app = app
        self._clock = clock
        options = WorkerOptions(name=_WORKER)
        store = app.store
        journal = Journal(log_level="DEBUG")
        rng = Random(0)
        slots = Slots(options.slots)
        surroundings = Surroundings(store.work, journal, clock, rng, app.around)
        self._journal = journal
        self._threads = ThreadRunner(slots, surroundings)
        self._loop = LoopRunner(slots, surroundings)
        self._pump = Pump(
            store.work,
            app.handlers,
            worker_id=_WORKER,
            options=options,
            clock=clock,
            rng=rng,
            emit=app.emit,
            journal=journal,
            claimer=Claimer(_WORKER, options, app.handlers, rng),
            slots=slots,
        )
        self._pump.on_dispatch = self._run_each
        self._ran = 0
        self._running = False

    @property
    def clock(self) -> ManualClock:
        """The clock that the queue sees; `clock.advance(60)` lets a minute pass."""
        return self._clock

    @property
    def enqueued(self) -> list[Task]:
        """Every task there is, oldest first."""
        return self._app.store.tasks.find(TaskFilter(), limit=_RUNS_MAX)[::-1]

    def run(self, *, advance: float = 0.0) -> int:
        """Let `advance` seconds pass, then run every task that is due, and what these enqueue; how many attempts ran.

        Raises AssertionError when tasks enqueue each other without an end.
        """
        self._clock.advance(advance)
        if self._running:
            return 0  # a task enqueues another: the run that it is part of takes it up
        self._running = True
        try:
            return self._run_due()
        finally:
            self._running = False

    def _run_due(self) -> int:
        before = self._ran
        idle = False
        while not idle:
            seen = self._ran
            self._pump.step()
            idle = self._ran == seen and self._pump.idle
            if self._ran - before > _RUNS_MAX:
                raise AssertionError(
                    f"more than {_RUNS_MAX:,} attempts in one run: do tasks enqueue each other for ever?"
                )
        return self._ran - before

    def assert_enqueued(self, task: TaskFunction[Any, Any] | str, **arguments: Any) -> Task:
        """The newest task of this function (or type) whose payload has these arguments; AssertionError without one."""
        name = task if isinstance(task, str) else task.name
        found = [one for one in self.enqueued if one.type == name]
        for one in reversed(found):
            payload = one.get_payload_dict()
            if all(key in payload and payload[key] == value for key, value in arguments.items()):
                return one
        seen = "; ".join(one.payload for one in found) or "none of this type"
        raise AssertionError(f"no task {name!r} with {arguments} was enqueued. Enqueued: {seen}")

    def assert_not_enqueued(self, task: TaskFunction[Any, Any] | str) -> None:
        """AssertionError where a task of this function (or type) was enqueued."""
        name = task if isinstance(task, str) else task.name
        found = [one.payload for one in self.enqueued if one.type == name]
        if found:
            raise AssertionError(f"{len(found)} tasks {name!r} were enqueued: {'; '.join(found[:5])}")

    def _run_each(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            self._ran += 1
            if handler_of(attempt).is_async:
                self._journal.finish(_in_a_loop(self._loop, attempt))
            else:
                self._journal.finish(self._threads.run(attempt))


def _in_a_loop(runner: LoopRunner, attempt: Attempt) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(runner.run(attempt))
    # The test itself runs on a loop: its tasks get one of their own, in a thread.
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(asyncio.run(runner.run(attempt))))
    thread.start()
    thread.join()
    return ended[0]


@contextmanager
def testing(app: Testable, *, run: bool) -> Iterator[TestingQueue]:
    """See PrismQ.testing."""
    with tempfile.TemporaryDirectory(prefix="prismq-test-", ignore_cleanup_errors=True) as folder:
        clock = ManualClock()
        store = open_store("sqlite", str(Path(folder) / "queue.db"))
        with app.rewired(store, clock):
            queue = TestingQueue(app, clock)

            def run_at_once(event: Event) -> None:
                if isinstance(event, (TaskEnqueued, TasksEnqueued)):
                    queue.run()

            if run:
                app.listen(run_at_once)
            try:
                yield queue
            finally:
                app.unlisten(run_at_once)
                store.close()
