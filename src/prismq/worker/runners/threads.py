"""Plain functions: each in a thread, which can be interrupted between two bytecodes but not killed."""

from __future__ import annotations

import threading
from collections.abc import Callable

from prismq.domain.errors import TaskCancelled
from prismq.worker.attempt import Attempt, Ending
from prismq.worker.capture import finish_output
from prismq.worker.context import TaskContext, bind, unbind
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
from prismq.worker.runners.interrupts import Interrupter, watch_for_lost_interrupts
from prismq.worker.slots import Slots


class ThreadRunner:
    """Runs attempts in up to `slots.size` threads, started as they are needed."""

    def __init__(
        self,
        slots: Slots,
        surroundings: Surroundings,
        run_in_process: Callable[[Attempt], Ending] | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """`between` is called in each thread between two tasks."""
        self._between = between
        self._slots = slots
        self._surroundings = surroundings
        self._run_in_process = run_in_process
        self._number = 0
        watch_for_lost_interrupts()
        slots.start_thread = self._start_thread

    def _start_thread(self) -> None:
        self._number += 1
        threading.Thread(target=self._loop, name=f"prismq-slot-{self._number}", daemon=True).start()

    def _loop(self) -> None:
        while (attempt := self._slots.next_for_thread()) is not None:
            try:
                ending = self.run(attempt)
            except BaseException as late:  # noqa: BLE001 - without an ending the task would be held for ever
                # An interrupt that arrived after the handler's own frames were left, or a fault of ours.
                ending = failed(attempt, late, self._surroundings)
            self._surroundings.journal.finish(ending)
            self._slots.free()
            self._between()

    def run(self, attempt: Attempt) -> Ending:
        """Run one attempt here and now, in the calling thread."""
        if handler_of(attempt).executor == "process" and self._run_in_process is not None:
            return self._run_in_process(attempt)
        if self._surroundings.tracing is None:
            return self._run(attempt)
        ending = None
        trace = begin_trace(attempt, self._surroundings)
        try:
            ending = self._run(attempt)
        finally:
            if trace is not None:
                end_trace(trace, ending, attempt, self._surroundings)
        return ending

    def _run(self, attempt: Attempt) -> Ending:
        surroundings = self._surroundings
        clock = surroundings.clock
        interrupter = Interrupter(attempt)
        try:
            if not attempt.open_gate(interrupter.interrupt, clock.now(), clock.monotonic()):
                return failed(attempt, TaskCancelled("told to stop before it began"), surroundings)
            surroundings.journal.started(attempt)
            try:
                value = self._call(attempt)
            finally:
                if attempt.close_gate():
                    interrupter.take_back()
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises, SystemExit too, ends its attempt
            return failed(attempt, error, surroundings)
        return completed(attempt, value, surroundings)

    def _call(self, attempt: Attempt) -> object:
        surroundings = self._surroundings
        handler = handler_of(attempt)
        context = TaskContext(attempt.lease, InProcessReporter(attempt, surroundings))
        token = bind(context)
        try:
            args, kwargs = decode(attempt)
            if not surroundings.around:
                return handler.function(*args, **kwargs)
            with surrounded(context, surroundings.around):
                return handler.function(*args, **kwargs)
        finally:
            if surroundings.capture.output:
                finish_output(context)
            unbind(token)
