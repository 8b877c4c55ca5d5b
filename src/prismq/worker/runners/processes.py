"""Handlers that ask for a process of their own: a hard timeout, a memory limit, a kill that always works."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import psutil

from prismq.domain.errors import TaskCancelled
from prismq.domain.lease import ErrorInfo
from prismq.domain.status import TaskStatus
from prismq.worker.attempt import Attempt, Ending, Why
from prismq.worker.runners.base import AttemptTrace, Surroundings, begin_trace, end_trace, failed, handler_of
from prismq.worker.runners.child import ChildSetup, main

_POLL_S = 0.1  # how often a running child is looked at: memory, life, a stop that it does not heed
_TIMEOUT_GRACE_S = 0.5
_START_S = 60.0  # a child imports the user's code first


class ChildDied(Exception):
    """The process that ran the task ended without an answer."""


class MemoryLimitExceeded(Exception):
    """The task's process grew past its memory limit and was killed."""


class _Child:
    """A spawned process and the pipe to it."""

    def __init__(self, app: str, database: str | None, setup: ChildSetup) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.pipe: Connection = ours
        self.process: SpawnProcess = context.Process(
            target=main, args=(theirs, app, database, setup), daemon=True, name="prismq-task"
        )
        self.process.start()
        theirs.close()
        try:
            ready = self.pipe.poll(_START_S) and self.pipe.recv() == ("ready",)
        except (EOFError, OSError) as error:
            self.kill()
            raise ChildDied(f"it ended while it imported {app}: see its error output") from error
        if not ready:
            self.kill()
            raise ChildDied(f"it was not ready within {_START_S:g} s")

    def memory_bytes(self) -> int:
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:  # it has ended; the pipe will say so
            return 0

    def kill(self) -> None:
        self.process.kill()
        self.process.join(5.0)
        self.pipe.close()


class ProcessRunner:
    """Runs attempts in child processes, which are kept and used again until one has to be killed."""

    def __init__(
        self,
        app: str,
        database: str | None,
        surroundings: Surroundings,
        *,
        stop_grace_s: float,
        setup: ChildSetup | None = None,
    ) -> None:
        self._app = app
        self._setup = setup or ChildSetup(capture=surroundings.capture)
        self._database = database
        self._surroundings = surroundings
        self._grace_s = stop_grace_s
        self._idle: list[_Child] = []
        self._guard = threading.Lock()

    def run(self, attempt: Attempt) -> Ending:
        """Run one attempt to its end; blocks the calling slot thread."""
        # The span is this process's: it outlives a child that is killed.
        trace = begin_trace(attempt, self._surroundings)
        ending = None
        try:
            ending = self._run(attempt, trace)
        finally:
            if trace is not None:
                end_trace(trace, ending, attempt, self._surroundings)
        return ending

    def _run(self, attempt: Attempt, trace: AttemptTrace | None) -> Ending:
        clock = self._surroundings.clock
        try:
            child = self._borrow()
        except (ChildDied, OSError, EOFError) as error:
            attempt.close_gate()
            return failed(attempt, ChildDied(f"no process could be started for the task: {error}"), self._surroundings)
        told: list[Why] = []

        def interrupt(why: Why) -> bool:
            told.append(why)
            return True

        if not attempt.open_gate(interrupt, clock.now(), clock.monotonic()):
            self._give_back(child)
            return failed(attempt, TaskCancelled("told to stop before it began"), self._surroundings)
        self._surroundings.journal.started(attempt)
        try:
            child.pipe.send(("run", attempt.lease, None if trace is None else trace.carrier))
            ending = self._follow(child, attempt, told, trace)
        except (EOFError, OSError):
            child.process.join(5.0)
            ending = self._died(child, attempt)
            child.kill()  # user code may have closed the pipe and live on
        attempt.close_gate()
        if ending is None:
            ending = self._died(child, attempt)
        if child.process.is_alive() and not child.pipe.closed:
            self._give_back(child)
        else:
            child.kill()
        return ending

    def _follow(self, child: _Child, attempt: Attempt, told: list[Why], trace: AttemptTrace | None) -> Ending | None:
        clock, journal = self._surroundings.clock, self._surroundings.journal
        limit = handler_of(attempt).memory_limit_bytes
        passed_on, kill_at, look_at = False, 0.0, clock.monotonic() + _POLL_S
        while True:
            if child.pipe.poll(_POLL_S):
                message = child.pipe.recv()
                kind = message[0]
                if kind == "ended":
                    return self._ended(attempt, message)
                if kind == "log":
                    journal.log(attempt, *message[1:])
                elif kind == "progress":
                    journal.progress(attempt, message[1])
                elif kind == "bound":
                    journal.bind(attempt, message[1])
                elif kind == "spans" and trace is not None:
                    trace.add(message[1])
                elif kind == "result":
                    journal.result(attempt, message[1])
                elif kind == "offered":
                    journal.offered(attempt)
                elif kind == "within":
                    attempt.completed_within = True
                # One that talks without a pause is looked at all the same.
                if clock.monotonic() < look_at:
                    continue
            look_at = clock.monotonic() + _POLL_S
            if told and not passed_on:
                # A timeout is a hard one here; a cancelled task may take its time to clean up.
                grace_s = min(self._grace_s, _TIMEOUT_GRACE_S) if told[0] == "timeout" else self._grace_s
                passed_on, kill_at = True, clock.monotonic() + grace_s
                child.pipe.send(("stop", told[0]))
                attempt.transport = "its process was asked to stop"
            if passed_on and clock.monotonic() >= kill_at:
                attempt.transport = "its process was killed"
                child.kill()
                attempt.close_gate()
                return failed(attempt, TaskCancelled("killed"), self._surroundings)
            if limit is not None and child.memory_bytes() > limit:
                used = child.memory_bytes()
                child.kill()
                attempt.close_gate()
                error = MemoryLimitExceeded(f"killed: memory: its process used {used:,} bytes of {limit:,} allowed")
                return failed(attempt, error, self._surroundings)
            # Its last word may have come between the look at the pipe and the look at the process.
            if not child.process.is_alive() and not child.pipe.poll(0):
                return None

    def _ended(self, attempt: Attempt, message: tuple[Any, ...]) -> Ending:
        _, to, result, error, delay_s, counts, reason = message
        at = self._surroundings.clock.now()
        attempt.close_gate()
        info = None if error is None else ErrorInfo(*error)
        return Ending(
            attempt,
            TaskStatus(to),
            at,
            result=result,
            error=info,
            delay_s=delay_s,
            counts=counts,
            reason=reason,
        )

    def _died(self, child: _Child, attempt: Attempt) -> Ending:
        code = child.process.exitcode
        hint = " (killed from outside; out of memory, perhaps)" if code in (-9, 137) else ""
        error = ChildDied(f"the task's process ended without an answer, exit code {code}{hint}")
        return failed(attempt, error, self._surroundings)

    def _borrow(self) -> _Child:
        with self._guard:
            while self._idle:
                child = self._idle.pop()
                if child.process.is_alive():
                    return child
                child.kill()
        return _Child(self._app, self._database, self._setup)

    def _give_back(self, child: _Child) -> None:
        with self._guard:
            self._idle.append(child)

    def close(self) -> None:
        """End the idle children."""
        with self._guard:
            idle, self._idle = self._idle, []
        for child in idle:
            try:
                child.pipe.send(None)
            except OSError:  # it has ended already
                child.process.join(0)
            child.process.join(0.5)
            child.kill()
