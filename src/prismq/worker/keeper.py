"""Keeps what this process holds: renews leases, passes on cancellations, watches timeouts, reports.

It has a thread and a connection of its own, so that busy tasks cannot starve it, and a second thread that never
waits for the store: a lease that runs out while the store does not answer, and a timeout, are noticed all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.worker import WorkerCommand
from prismq.storage.contract import Store, WorkerReport
from prismq.worker.attempt import Attempt
from prismq.worker.options import WorkerOptions

_LOOK_S = 0.5  # for commands and cancellations; hints make it sooner
_STARVED_S = 0.25  # woken so much too late, a thread was kept from running
_QUIET_LOOK_S = 5.0  # the same where hints tell of them and each look is an exchange with a server
_TICK_S = 0.05  # how late a timeout may be noticed
_NUDGE_S = 0.01  # until an interrupt is tried again that met the task inside the queue's own code


class Holder(Protocol):
    """What the keeper asks of the worker it keeps."""

    @property
    def worker_id(self) -> str: ...
    def held(self) -> list[Attempt]: ...
    def report(self) -> WorkerReport: ...
    def report_written(self) -> None: ...
    def renewed(self, attempt: Attempt, at: float, until: float) -> None: ...
    def obey(self, command: WorkerCommand, argument: int | None, by: str) -> None: ...
    def register(self) -> None: ...


class Keeper:
    """`talk()` does what is due with the store, `watch()` what is due without it, and `step()` both.

    Each returns the seconds until it wants to be called again. The two may be called by different threads.
    """

    def __init__(
        self,
        holder: Holder,
        store: Store,
        options: WorkerOptions,
        clock: Clock,
        emit: ev.Emit,
        on_stranded: Callable[[str], None],
        on_stuck: Callable[[Attempt], None],
    ) -> None:
        self._holder = holder
        self._store = store
        self._options = options
        self._clock = clock
        self._emit = emit
        self._on_stranded = on_stranded
        self._on_stuck = on_stuck
        start = clock.monotonic()
        self._started = start
        self._renewed_at = start
        self._watch_due = self._awake_since = self._renewed_at
        self._renew_every_s = min(options.lease_s / 3, options.heartbeat_s)
        self._renew_at = start + self._renew_every_s
        self._report_at = start + options.heartbeat_s
        self._look_at = start
        self._stranded = False
        self.looked = False  # something was announced: look now
        self.quiet: Callable[[], bool] = lambda: False  # whether hints tell of what it looks for

    def step(self) -> float:
        """Do what is due."""
        return min(self.talk(), self.watch())

    def talk(self) -> float:
        """Renew, look and report."""
        mono = self._clock.monotonic()
        try:
            if mono >= self._renew_at:
                self._renew(mono)
            if mono >= self._look_at or self.looked:
                self.looked = False
                self._look(mono)
            if mono >= self._report_at:
                self._report(mono)
        except QueueDatabaseError:
            # The pump tells of it. What matters here is the time since the last renewal.
            self._look_at = mono + _LOOK_S
            self._renew_at = max(self._renew_at, mono + _LOOK_S)
            self._report_at = max(self._report_at, mono + _LOOK_S)
        return max(0.01, min(self._renew_at, self._report_at, self._look_at) - mono)

    def watch(self) -> float:
        """Stop what has lost its lease or outrun its time."""
        mono = self._clock.monotonic()
        self._watch_lease(mono)
        wait_s = max(0.01, self._watch_attempts(mono))
        self._watch_due = mono + wait_s
        return wait_s

    def _renew(self, mono: float) -> None:
        held = {attempt.key: attempt for attempt in self._holder.held()}
        if held:
            now = self._clock.now()
            renewed = self._store.work.renew(
                [self._holder.worker_id], self._options.lease_s, now, only=[task_id for task_id, _ in held]
            )
            still = {(lease.task_id, lease.fencing_token) for lease in renewed}
            for key, attempt in held.items():
                # One that its own transaction has completed holds no lease, and has lost none.
                gone = key not in still and not attempt.ended and not (attempt.completed_within or attempt.offered)
                if gone and attempt.tell_to_stop("lost", mono):
                    self._emit(ev.LeaseLostEvent(attempt.lease))
                started = attempt.started_mono
                # Those that just happen to run at the moment of a renewal are not worth a line.
                if key in still and started is not None and mono - started >= self._renew_every_s:
                    self._holder.renewed(attempt, now, now + self._options.lease_s)
            if renewed:
                self._emit(ev.LeasesRenewed(self._holder.worker_id, len(renewed), now + self._options.lease_s))
        self._renewed_at = mono
        self._renew_at = mono + self._renew_every_s

    def _look(self, mono: float) -> None:
        self._look_at = mono + (_QUIET_LOOK_S if self.quiet() else _LOOK_S)
        worker_id = self._holder.worker_id
        held = {attempt.key: attempt for attempt in self._holder.held()}
        if held:
            for key in self._store.work.cancel_requests(worker_id):
                attempt = held.get(key)
                if attempt is not None:
                    attempt.tell_to_stop("cancel", mono)
        for command, argument, by in self._store.workers.take_commands(worker_id, self._clock.now()):
            self._holder.obey(command, argument, by)

    def _report(self, mono: float) -> None:
        self._report_at = mono + self._options.heartbeat_s
        report = self._holder.report()
        if not self._store.workers.heartbeat(report, self._clock.now()):
            # Somebody removed the row (a pruned registry, a restored backup): it is told again who works here.
            self._holder.register()
        self._holder.report_written()
        self._emit(
            ev.WorkerHeartbeatSent(report.worker_id, report.busy, report.slots, mono - self._started, report.status)
        )

    def report_now(self) -> None:
        """Report at the next step, not at the next heartbeat."""
        self._report_at = self._clock.monotonic()

    def _watch_lease(self, mono: float) -> None:
        """Once the store was out of reach for a whole lease, others may have the tasks: stop them and say why."""
        safe_s = self._options.lease_s
        # Where a task has held the interpreter, nobody here could renew, and the supervisor did: what the store knows
        # is asked first, and fencing guards the rest.
        if mono - self._watch_due > max(_STARVED_S, safe_s / 12):
            self._awake_since = mono
        stranded = [
            attempt
            for attempt in self._holder.held()
            if mono - max(self._renewed_at, attempt.taken_mono, self._awake_since) >= safe_s
            and not attempt.completed_within
            and attempt.tell_to_stop("lost", mono)
        ]
        if stranded and not self._stranded:
            self._stranded = True
            self._on_stranded(
                f"the store was away for longer than the lease of {safe_s:g} s: {len(stranded)} tasks were stopped"
            )

    def _watch_attempts(self, mono: float) -> float:
        tick = _LOOK_S
        for attempt in self._holder.held():
            if attempt.ended:
                continue
            if attempt.stop_why is None:
                if attempt.deadline is not None:
                    if mono >= attempt.deadline:
                        attempt.tell_to_stop("timeout", mono)
                    else:
                        tick = min(tick, max(attempt.deadline - mono, _TICK_S))
                continue
            if not attempt.nudge():
                tick = _NUDGE_S
            if attempt.started_mono is None:  # it waits for a slot, and ends when it gets one: nothing is stuck
                continue
            if not attempt.stuck_told and mono - (attempt.stopped_mono or mono) >= 2 * self._options.stop_grace_s:
                attempt.stuck_told = True
                self._emit(ev.TaskStuck(attempt.lease, attempt.stop_why, mono - (attempt.stopped_mono or mono)))
                self._on_stuck(attempt)
        return tick
