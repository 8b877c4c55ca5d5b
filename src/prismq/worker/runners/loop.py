"""Coroutines: all on one event loop, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from prismq.domain.errors import TaskCancelled
from prismq.worker.attempt import Attempt, Ending, Why
from prismq.worker.capture import finish_output
from prismq.worker.context import TaskContext, bind
from prismq.worker.runners.base import (
    InProcessReporter,
    Surroundings,
    begin_trace,
    completed,
    decode,
    end_trace,
    failed,
    handler_of,
    surrounded,
)
from prismq.worker.slots import Slots

_CLOSE_S = 1.0  # a coroutine that blocks the loop is not waited for longer


class LoopRunner:
    """Runs coroutine handlers. The loop starts with the first of them."""

    def __init__(self, slots: Slots, surroundings: Surroundings) -> None:
        self._slots = slots
        self._surroundings = surroundings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told = self._closed = False
        self._running: set[asyncio.Task[None]] = set()
        slots.on_loop_work = self._on_work

    def _on_work(self) -> None:
        with self._guard:
            if self._told or self._closed:
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run_loop, args=(self._loop,), name="prismq-loop", daemon=True
                )
                self._thread.start()
            self._told = True
            self._loop.call_soon_threadsafe(self._fill)

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._closed:
            # sys.exit() in a coroutine that a task has started ends this call, and is in that coroutine's outcome:
            # the other tasks, and the loop, go on.
            with contextlib.suppress(BaseException):
                loop.run_forever()
        loop.close()

    def close(self) -> None:
        """Stop the loop; coroutines that still run are left where they are."""
        with self._guard:
            self._closed = True
            loop, thread = self._loop, self._thread
            if loop is not None:
                loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(_CLOSE_S)

    def _fill(self) -> None:
        self._told = False
        while (attempt := self._slots.next_for_loop()) is not None:
            task = asyncio.ensure_future(self._run_one(attempt))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run_one(self, attempt: Attempt) -> None:
        try:
            ending = await self.run(attempt)
        except Exception as fault:  # noqa: BLE001 - without an ending the task would be held for ever
            ending = failed(attempt, fault, self._surroundings)
        finally:
            self._slots.give_back()
        self._surroundings.journal.finish(ending)

    async def run(self, attempt: Attempt) -> Ending:
        """Run one attempt on the running loop, in a coroutine of its own."""
        if self._surroundings.tracing is None:
            return await self._run(attempt)
        ending = None
        trace = begin_trace(attempt, self._surroundings)
        try:
            ending = await self._run(attempt)
        finally:
            if trace is not None:
                end_trace(trace, ending, attempt, self._surroundings)
        return ending

    async def _run(self, attempt: Attempt) -> Ending:
        surroundings = self._surroundings
        clock = surroundings.clock
        loop = asyncio.get_running_loop()
        inner = asyncio.ensure_future(self._call(attempt))

        def interrupt(why: Why) -> bool:
            attempt.transport = "its coroutine was cancelled"
            loop.call_soon_threadsafe(inner.cancel)
            return True

        try:
            if not attempt.open_gate(interrupt, clock.now(), clock.monotonic()):
                inner.cancel()
                return failed(attempt, TaskCancelled("told to stop before it began"), surroundings)
            surroundings.journal.started(attempt)
            value = await inner
        except BaseException as error:  # noqa: BLE001 - CancelledError and SystemExit end the attempt, not the loop
            attempt.close_gate()
            if isinstance(error, asyncio.CancelledError) and attempt.stop_why is None:
                error = RuntimeError("the task's coroutine was cancelled, though not by prismq")
            return failed(attempt, error, surroundings)
        attempt.close_gate()
        return completed(attempt, value, surroundings)

    async def _call(self, attempt: Attempt) -> object:
        surroundings = self._surroundings
        handler = handler_of(attempt)
        context = TaskContext(attempt.lease, InProcessReporter(attempt, surroundings))
        bind(context)  # a coroutine's own context: nothing to undo
        args, kwargs = decode(attempt)
        try:
            with surrounded(context, surroundings.around):
                return await handler.function(*args, **kwargs)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            # Asyncio would let them end the loop and all its tasks, or take the last for its own.
            raise RuntimeError(f"the task raised {type(error).__name__}") from error
        finally:
            if surroundings.capture.output:
                finish_output(context)
