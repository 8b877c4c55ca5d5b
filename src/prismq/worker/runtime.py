"""A worker in this process: wires the steps to threads, starts and stops them."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from random import Random

import psutil

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import PermanentError, QueueDatabaseError
from prismq.domain.handler import Handler
from prismq.domain.lease import ErrorInfo
from prismq.domain.outcome import describe
from prismq.domain.redaction import Redactor
from prismq.domain.status import TaskStatus
from prismq.domain.worker import Worker, WorkerCommand, WorkerStatus
from prismq.storage.contract import Store, WorkerReport
from prismq.storage.wakeup import Announcer, Ear
from prismq.version import __version__
from prismq.worker.attempt import Attempt, Ending
from prismq.worker.bell import Bell
from prismq.worker.built_in import with_built_ins
from prismq.worker.capture import Capture
from prismq.worker.claimer import Claimer
from prismq.worker.driver import Driver
from prismq.worker.journal import Journal
from prismq.worker.keeper import Keeper
from prismq.worker.options import WorkerOptions
from prismq.worker.pump import Pump
from prismq.worker.runners.base import Around, Surroundings, Tracing, failed
from prismq.worker.runners.child import ChildSetup
from prismq.worker.runners.loop import LoopRunner
from prismq.worker.runners.processes import ProcessRunner
from prismq.worker.runners.threads import ThreadRunner
from prismq.worker.slots import Slots

_FAULTS_MAX = 20  # steps that may fail in a way nobody foresaw before a fresh process is wanted
_FAULT_WAIT_MAX_S = 5.0
_MEMORY_LOOK_S = 0.5


class Runtime:
    """One worker: slots, runners, the pump that talks to the store, and the keeper beside it.

    `app` names the application for `executor="process"` (`module:name`); without it such tasks fail with
    a message. `program_log` is how such processes log, see ChildSetup. Its identity is a boot id: a restarted
    worker is another worker.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Handler],
        options: WorkerOptions,
        *,
        clock: Clock,
        rng: Random,
        emit: ev.Emit,
        around: Sequence[Around] = (),
        app: str | None = None,
        database: str | None = None,
        worker_id: str | None = None,
        supervisor_id: str | None = None,
        restarts: int = 0,
        tracing: Tracing | None = None,
        redactor: Redactor | None = None,
        program_log: tuple[str, bool] | None = None,
    ) -> None:
        self.options = options
        self._store = store
        handlers = self._handlers = with_built_ins(handlers)
        self._clock = clock
        self._emit = emit
        self._app = app
        self._supervisor_id = supervisor_id
        self._restarts = restarts
        self.worker_id = worker_id or f"{options.name}-{uuid.UUID(int=rng.getrandbits(128)).hex[:12]}"
        self._bell = Bell()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._keeper_wake, self._watch_wake = threading.Event(), threading.Event()
        self._faults = 0
        self._memory_look_at = 0.0  # monotonic
        self.slots = Slots(options.slots)
        self.journal = Journal(log_level=options.log_level, ring=self._bell.ring)
        claimer = Claimer(self.worker_id, options, handlers, rng)
        self.pump = Pump(
            store.work, handlers, worker_id=self.worker_id, options=options, clock=clock, rng=rng, emit=emit,
            journal=self.journal, claimer=claimer, slots=self.slots,
        )  # fmt: skip
        self._driver = Driver(
            self._step, journal=self.journal, slots=self.slots, bell=self._bell, clock=clock, changed=self._changed,
            calm=self._calm, starved=lambda: self.pump.starved, remote=store.work.is_remote,
        )  # fmt: skip
        self.journal.on_finish = self._driver.on_finish
        surroundings = Surroundings(
            store.work, self.journal, clock, rng, around, options.attempts_cap, tracing, options.capture,
            redactor or Redactor(),
        )  # fmt: skip
        setup = ChildSetup(options.capture, options.log_level, program_log)
        self._processes = (
            ProcessRunner(app, database, surroundings, stop_grace_s=options.stop_grace_s, setup=setup) if app else None
        )
        self._capture = Capture(options.capture)
        in_process = self._processes.run if self._processes else _no_application(surroundings)
        self._threads = ThreadRunner(self.slots, surroundings, in_process, self._driver.help)
        self._loop = LoopRunner(self.slots, surroundings)
        self.keeper = Keeper(self, store, options, clock, emit, self._on_stranded, self._on_stuck)
        self._status = WorkerStatus.ACTIVE
        self._note: str | None = None
        self._ear: Ear | None = None
        self._news: Announcer | None = None
        self._hints_come = True
        self.pump.quiet = self.keeper.quiet = self._is_quiet
        self._mark: int | None = None
        self._running: list[threading.Thread] = []
        self._reported = self._reporting = (0, 0, 0, 0.0)
        self._process = psutil.Process(os.getpid())
        self._started_mono = clock.monotonic()
        self.on_want_exit: Callable[[str], None] = lambda reason: None
        self.exit_wanted: str | None = None

    # -- life

    def start(self) -> None:
        """Register, and begin to work in threads of its own."""
        if self.options.hints:
            self._ear = self._store.wakeups.ear(self._clock, self._on_hints)
            if self._ear is not None:
                self._bell.add(self._ear)
            if (news := self._store.wakeups.news()) is not None:
                self._news = news.announcer(self._clock)
                self.pump.on_change = self._news.announce
        self.register()
        self._capture.start()
        self._emit(ev.WorkerRegistered(self.worker_id, socket.gethostname(), os.getpid(), self.slots.size))
        for name, loop in (
            ("pump", lambda: self._driver.run(self._stop.is_set)),
            ("keeper", self._keeper_loop),
            ("watch", self._watch_loop),
        ):
            thread = threading.Thread(target=loop, name=f"prismq-{name}", daemon=True)
            thread.start()
            self._running.append(thread)

    def drain(self) -> None:
        """Claim no more, give back what has not started, let the rest end."""
        self._change(WorkerStatus.DRAINING, "draining")
        self.pump.pause("given back: the worker drains")
        self._bell.ring()

    def hurry(self) -> None:
        """Wait no longer for what still runs."""
        self._hurry.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Tell what still runs to stop; it is given back without using up an attempt."""
        # What was claimed while the drain began waits behind tasks that may never end: it goes back now.
        self.pump.pause("given back: the worker stops")
        for attempt in self.held():
            attempt.tell_to_stop("shutdown", self._clock.monotonic())
        self._bell.ring()

    @property
    def idle(self) -> bool:
        """Nothing runs, waits or is still to be written."""
        return self.pump.idle

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing runs or is left to write; False when the time is over."""
        return self._wait_idle(timeout_s, threading.Event())

    def _wait_idle(self, timeout_s: float, hurry: threading.Event) -> bool:
        deadline = self._clock.monotonic() + timeout_s
        while not self.idle:
            if self._clock.monotonic() >= deadline or self._clock.wait(hurry, 0.01):
                return self.idle
        return True

    def stop(self, grace_s: float | None = None) -> int:
        """Shut down: drain for `grace_s`, then interrupt and give back. How many tasks were given back or left.

        A task that will not stop keeps its lease until the process ends; the lease then runs out, or the
        supervisor returns it.
        """
        grace_s = self.options.grace_s if grace_s is None else grace_s
        self.drain()
        left = 0
        if not self._wait_idle(grace_s, self._hurry):
            left = len(self.held())
            self.interrupt()
            self.wait_idle(self.options.stop_grace_s)
        self._stop.set()
        self._bell.ring()
        self._keeper_wake.set()
        self._watch_wake.set()
        self.slots.close()
        for thread in self._running:
            if thread is not threading.current_thread():
                thread.join(5.0)
        self._loop.close()
        if self._processes:
            self._processes.close()
        self._driver.close()
        self._bell.close()
        if self._ear:
            self._ear.close()
        if self._news:
            self._news.close()
        self._capture.stop()
        self._sign_off()
        self._emit(ev.WorkerStopped(self.worker_id, left, self._clock.monotonic() - self._started_mono))
        return left

    def _sign_off(self) -> None:
        try:
            self._store.workers.heartbeat(self.report(), self._clock.now())
            self._store.workers.stop(self.worker_id, WorkerStatus.STOPPED.value, self._note, self._clock.now())
        except QueueDatabaseError:  # its row will be found silent, and its leases are gone or will run out
            return

    # -- loops, too small to be wrong

    def _step(self) -> float:
        wait_s = self._guarded(self.pump.step)
        if not self._stop.is_set():
            self._check_recycling()
        return wait_s

    def _guarded(self, step: Callable[[], float]) -> float:
        """A step that must not end its thread: a worker without it would look alive and do nothing."""
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - a fault of ours, or a row that nobody foresaw
            self._faults += 1
            info = describe(error)
            self._emit(ev.WorkerStateChanged(self.worker_id, "faulty", f"{info.message}\n{info.traceback}"))
            if self._faults >= _FAULTS_MAX:
                self._want_exit(f"it failed {self._faults} times, at last with {info.type}: {info.message}")
            return min(_FAULT_WAIT_MAX_S, 0.1 * 2.0 ** min(self._faults, 10))

    def _keeper_loop(self) -> None:
        while not self._stop.is_set():
            wait_s = self._guarded(self.keeper.talk)
            self._watch_wake.set()  # what was just told to stop may need a nudge
            self._clock.wait(self._keeper_wake, wait_s)
            self._keeper_wake.clear()

    def _watch_loop(self) -> None:
        while not self._stop.is_set():
            self._clock.wait(self._watch_wake, self._guarded(self.keeper.watch))
            self._watch_wake.clear()

    def _changed(self) -> bool:
        try:
            seen = self._store.change_mark()
        except QueueDatabaseError:  # the pump meets it too, and reports it
            return False
        before, self._mark = self._mark, seen
        return seen != before  # always equal where the store has no mark

    def _is_quiet(self) -> bool:
        return self._store.work.is_remote and self._ear is not None and self._hints_come

    def _on_hints(self, lost: str | None) -> None:
        self._hints_come = lost is None
        if lost is None:
            self._emit(ev.HintsRecovered(self.worker_id))
        else:
            self._emit(ev.HintsLost(self.worker_id, lost, self.options.poll_s))

    def _calm(self) -> None:
        # Once for many hints, and a little later: a cancellation can wait where a claim should not.
        self.keeper.looked = True
        self._keeper_wake.set()

    def _check_recycling(self) -> None:
        options = self.options
        if self.exit_wanted:
            return
        if options.max_tasks is not None and self.pump.total >= options.max_tasks:
            self._want_exit(f"it has run {self.pump.total} tasks (max_tasks_per_process)")
        elif options.max_memory_bytes is not None and self._clock.monotonic() >= self._memory_look_at:
            self._memory_look_at = self._clock.monotonic() + _MEMORY_LOOK_S
            used = int(self._process.memory_info().rss)
            if used > options.max_memory_bytes:
                self._want_exit(f"it uses {used:,} bytes (max_memory_mb)")

    def _want_exit(self, reason: str) -> None:
        if self.exit_wanted is None:
            self.exit_wanted = reason
            self._note = reason
            self.on_want_exit(reason)

    def _on_stranded(self, reason: str) -> None:
        self._emit(ev.WorkerStateChanged(self.worker_id, "stranded", reason))
        self._want_exit(reason)

    def _on_stuck(self, attempt: Attempt) -> None:
        lease = attempt.lease
        self._note = f"task {lease.task_id} ({lease.type}) was told to stop ({attempt.stop_why}) and does not"
        if attempt.stop_why != "shutdown":
            self._want_exit(self._note)

    def settle_stuck(self) -> None:
        """Write the end of tasks that cannot be stopped. The process must end at once afterwards."""
        now = self._clock.now()
        for attempt in self.held():
            if attempt.ended or attempt.stop_why is None or attempt.stop_why == "lost":
                continue
            attempt.close_gate()
            self.journal.finish(_forced(attempt, now))
        self._driver.step_now(self.options.stop_grace_s)  # where it fails the lease runs out, or is returned

    # -- for the keeper

    def held(self) -> list[Attempt]:
        """What this worker holds and has not settled."""
        return list(self.pump.attempts.values())

    def obey(self, command: WorkerCommand, argument: int | None, by: str) -> None:
        """Do what an operator asked."""
        who = f"asked by {by}" if by else "asked"
        if command is WorkerCommand.PAUSE:
            self.pump.pause("given back: the worker was paused")
            self._change(WorkerStatus.PAUSED, who)
        elif command is WorkerCommand.RESUME and self._status is not WorkerStatus.DRAINING:
            self.pump.resume()
            self._change(WorkerStatus.ACTIVE, who)
        elif command is WorkerCommand.RESIZE and argument is not None and argument > 0:
            self.slots.resize(argument)
            self._change(self._status, f"resized to {argument} slots, {who}")
        elif command is WorkerCommand.DRAIN:
            self.drain()
            self._want_exit(f"drained, {who}")
        self._bell.ring()
        self.keeper.report_now()

    def _change(self, status: WorkerStatus, why: str) -> None:
        self._status = status
        self._emit(ev.WorkerStateChanged(self.worker_id, status.value, why))

    def register(self) -> None:
        """Write this worker's row."""
        options = self.options
        self._store.workers.register(
            Worker(
                worker_id=self.worker_id,
                capabilities=json.dumps(dict(options.capabilities), sort_keys=True, default=str),
                status=self._status.value,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                supervisor_id=self._supervisor_id,
                queues=None if options.queues is None else json.dumps(list(options.queues)),
                types=json.dumps(sorted(self._handlers)) if options.only_known else None,
                strategy=options.strategy.value,
                version=__version__,
                slots=self.slots.size,
                restarts=self._restarts,
                hint_port=self._ear.port if self._ear else None,
                note=self._note,
            ),
            self._clock.now(),
        )

    def renewed(self, attempt: Attempt, at: float, until: float) -> None:
        """The lease of an attempt that has run for a while was renewed."""
        self.journal.renewed(attempt, at, until)

    def report_written(self) -> None:
        """The last report has reached the store: its counts are not said again."""
        self._reported = self._reporting

    def report(self) -> WorkerReport:
        """What is to be said with the next heartbeat; counts are since the last."""
        pump = self.pump
        done = (pump.completed, pump.failed, pump.retried, pump.run_s)
        completed, failed, retried, run_s = (new - old for new, old in zip(done, self._reported, strict=True))
        self._reporting = done
        with self._process.oneshot():
            cpu, memory = self._process.cpu_percent(), int(self._process.memory_info().rss)
        note = self._note
        if pump.down_since is not None:
            note = "the store cannot be reached"
        return WorkerReport(
            self.worker_id, self._status.value, self.slots.size, self.slots.busy, len(pump.attempts),
            int(completed), int(failed), int(retried), pump.last_claim_at, pump.last_look_at, cpu, memory, note, run_s,
        )  # fmt: skip


def _no_application(surroundings: Surroundings) -> Callable[[Attempt], Ending]:
    def refuse(attempt: Attempt) -> Ending:
        attempt.ended = True
        error = PermanentError(
            f"{attempt.lease.type!r} asks for executor='process', and a process could not find it: this PrismQ object "
            f"is not at the top level of a module that has a file. Put it there, or run it with `prismq worker`"
        )
        return failed(attempt, error, surroundings)

    return refuse


def _forced(attempt: Attempt, now: float) -> Ending:
    how = "its thread could not be interrupted, so its whole process was ended"
    if attempt.stop_why == "shutdown":
        return Ending(attempt, TaskStatus.QUEUED, now, counts=False, reason=f"given back at shutdown: {how}")
    if attempt.stop_why == "cancel":
        return Ending(attempt, TaskStatus.CANCELLED, now, reason=f"cancelled while it ran: {how}")
    lease = attempt.lease
    error = ErrorInfo("TaskTimeout", f"ran longer than its timeout of {attempt.timeout_s:g} s; {how}", "")
    if lease.attempt >= lease.max_attempts:
        reason = f"attempt {lease.attempt} of {lease.max_attempts} failed"
        return Ending(attempt, TaskStatus.DEAD_LETTER, now, error=error, reason=reason)
    return Ending(attempt, TaskStatus.SCHEDULED, now, error=error, delay_s=1.0)
