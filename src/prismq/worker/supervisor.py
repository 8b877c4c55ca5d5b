"""Keeps N worker processes running: starts, watches, replaces, and ends them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import uuid
from random import SystemRandom
from types import FrameType

from prismq.clock import Clock
from prismq.config import WorkerConfig
from prismq.domain import events as ev
from prismq.domain.account import AuditEntry
from prismq.domain.errors import QueueDatabaseError, QueueSchemaError
from prismq.domain.promise import NONE_GIVEN, Promises
from prismq.domain.worker import WorkerCommand, WorkerStatus
from prismq.worker.acts import RESTART
from prismq.worker.application import Application
from prismq.worker.autoscaler import Autoscaler, Layout
from prismq.worker.embedded import declare_schedules
from prismq.worker.housekeeper import Housekeeper
from prismq.worker.loading import load
from prismq.worker.process import EXIT_DRAINED, EXIT_MISCONFIGURED, EXIT_REPLACE, Order
from prismq.worker.seats import Seat, computes, ended_how
from prismq.worker.settings import bounds_of, first_layout, options_of

_STEP_S = 0.1
_BY = "autoscaler"
_WIND_DOWN_S = 10.0  # for the last writes and the end of a process, beyond the graces
_CALM_S = 10.0  # a process that lived this long did not fail at its start
_RESTART_MIN_S, _RESTART_MAX_S = 0.1, 30.0
_WEDGED_LEASES = 10  # a process that computes but never reports is believed for this many leases


class Supervisor:
    """`step()` looks after every process once. See `run` for the loop and the signals."""

    def __init__(
        self,
        app: Application,
        reference: str,
        config: WorkerConfig,
        *,
        database: str | None,
        log_level: str,
        log_json: bool,
        promises: Promises = NONE_GIVEN,
    ) -> None:
        self._app = app
        self._clock: Clock = app.clock
        self._reference = reference
        self._config = config
        self._database = database
        self._log_level, self._log_json = log_level, log_json
        self._options = options_of(config)
        bounds, layout = bounds_of(config, promises), first_layout(config)
        self.supervisor_id = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._slots = layout.slots  # of each process
        self._seats = [Seat(number, idle=number >= layout.processes) for number in range(bounds.max_processes)]
        self._autoscaler = Autoscaler(
            app.store,
            app.clock,
            bounds,
            supervisor_id=self.supervisor_id,
            queues=self._options.queues,
            present=lambda: self.layout,
        )
        self._housekeeper = Housekeeper(
            app.store,
            app.clock,
            SystemRandom(),
            app.emit,
            lease_s=self._options.lease_s,
            retention=self._options.retention,
            archive_dir=self._options.archive_dir,
            backups=self._options.backups,
            tracing=app.tracing,
            chores=(self._autoscaler.step,) if bounds.is_open else (),
            remedies=self._options.remedies,
        )
        self._ending = False
        self._give_up_at: float | None = None  # monotonic
        self._misconfigured = False
        self._stop_housekeeping = threading.Event()
        self._thread = threading.Thread(target=self._keep_house, name="prismq-housekeeper", daemon=True)
        self._look_at = 0.0
        self._last_step = self._clock.monotonic()

    # -- life

    def start(self) -> None:
        """Write the schedules, start the processes and the housekeeping."""
        declare_schedules(self._app)
        self._thread.start()
        for seat in self._seats:
            if not seat.idle:
                self._fill(seat)

    @property
    def alive(self) -> bool:
        """Whether any process runs or is to be started."""
        return any(seat.process is not None or not (seat.closed or seat.idle or self._ending) for seat in self._seats)

    @property
    def layout(self) -> Layout:
        """The processes that are to run, and the slots of each."""
        return Layout(sum(not (seat.closed or seat.idle) for seat in self._seats), self._slots)

    @property
    def exit_code(self) -> int:
        """0, or that of a process that could not start because of its configuration."""
        return EXIT_MISCONFIGURED if self._misconfigured else 0

    def step(self) -> None:
        """Look after every process once."""
        mono = self._clock.monotonic()
        if mono - self._last_step > min(_CALM_S, self._options.lease_s / 4):
            # This process itself stood still (stopped, or the machine slept): nobody is late by that.
            for seat in self._seats:
                seat.seen_mono = mono
        self._last_step = mono
        self._rescale(mono)
        for seat in self._seats:
            self._look_after(seat, mono)
        if mono >= self._look_at and not self._ending:
            self._look_at = mono + min(2.0, self._options.lease_s / 12)
            self._watch_heartbeats(mono)
        if self._give_up_at is not None and mono >= self._give_up_at:
            # One that is stopped, or wedged, will not heed the word: what it holds is returned.
            self.kill()

    def end(self, word: str) -> None:
        """Tell every process to `drain`, or to end `fast`."""
        self._ending = True
        grace_s = self._options.grace_s if word == "drain" else 0.0
        self._give_up_at = self._clock.monotonic() + grace_s + 2 * self._options.stop_grace_s + _WIND_DOWN_S
        for seat in self._seats:
            self._tell(seat, word)

    def kill(self) -> None:
        """End every process at once; what they held is returned."""
        self._ending = True
        for seat in self._seats:
            if seat.process is not None:
                seat.process.kill()

    def close(self) -> None:
        """Stop the housekeeping."""
        self._stop_housekeeping.set()
        self._thread.join(5.0)
        self._housekeeper.close()

    def _keep_house(self) -> None:
        while not self._stop_housekeeping.is_set():
            self._clock.wait(self._stop_housekeeping, self._housekeeper.step())

    # -- how many

    def _rescale(self, mono: float) -> None:
        """Carry out what the autoscaler has decided."""
        decision = self._autoscaler.decision
        if decision is None or self._ending:
            return
        before = self.layout
        after = decision.layout
        if any(seat.closed for seat in self._seats):  # an operator drained one, and wants no other in its place
            after = after._replace(processes=min(after.processes, before.processes))
        running = [seat for seat in self._seats if not (seat.closed or seat.idle)]
        leaving = running[after.processes :]
        coming = [seat for seat in self._seats if seat.idle and not seat.closed]
        coming.sort(key=lambda seat: (seat.process is not None, seat.number))
        store, now = self._app.store, self._clock.now()
        try:
            for seat in leaving:
                store.workers.ask(seat.worker_id, WorkerCommand.DRAIN, None, _BY, now)
            if after.slots != before.slots:
                for seat in running[: after.processes]:
                    store.workers.ask(seat.worker_id, WorkerCommand.RESIZE, after.slots, _BY, now)
        except QueueDatabaseError:  # the next look decides anew; to be asked twice does no harm
            self._autoscaler.decision = None
            return
        for seat in leaving:
            seat.idle = seat.retiring = True
        for seat in coming[: max(0, after.processes - before.processes)]:
            seat.idle, seat.start_at = False, mono
        self._slots = after.slots
        self._autoscaler.done()
        if after != before:
            self._tell_of(before, after, decision.why)

    def _tell_of(self, before: Layout, after: Layout, why: str) -> None:
        self._app.emit(ev.WorkersScaled(self.supervisor_id, *after, *before, why))
        which = {"processes": [before.processes, after.processes], "slots": [before.slots, after.slots], "why": why}
        entry = AuditEntry(_BY, "workers.scale", self._clock.now(), self.supervisor_id, which, via="system")
        with contextlib.suppress(QueueDatabaseError):  # it is done, and the log has it
            self._app.store.audit.add(entry)

    # -- one process

    def _fill(self, seat: Seat) -> None:
        seat.worker_id = f"{self._options.name}-{seat.number}-{uuid.uuid4().hex[:8]}"
        order = Order(
            app=self._reference,
            database=self._database,
            config={**self._config.model_dump(mode="json", exclude_unset=True), "concurrency": self._slots},
            worker_id=seat.worker_id,
            supervisor_id=self.supervisor_id,
            restarts=seat.restarts,
            log_level=self._log_level,
            log_json=self._log_json,
            number=seat.number,
        )
        seat.process = subprocess.Popen(
            [sys.executable, "-m", "prismq.worker.process"], stdin=subprocess.PIPE, text=True, encoding="utf-8"
        )
        seat.started_mono = seat.seen_mono = self._clock.monotonic()
        seat.seen, seat.cpu_s, seat.stood_in_since = None, 0.0, None
        self._write(seat, order.to_line())

    def _not_started(self, seat: Seat, error: OSError, mono: float) -> None:
        seat.failures += 1
        delay_s = min(_RESTART_MAX_S, _RESTART_MIN_S * 2.0**seat.failures)
        seat.start_at = mono + delay_s
        reason = f"its process could not be started: {error}"
        self._app.emit(ev.WorkerProcessLost(seat.worker_id, 0, 0, reason, seat.restarts, delay_s))

    def _tell(self, seat: Seat, word: str) -> None:
        if seat.process is not None:
            self._write(seat, f"{word}\n")

    @staticmethod
    def _write(seat: Seat, text: str) -> None:
        if seat.process is None or seat.process.stdin is None:
            return
        try:
            seat.process.stdin.write(text)
            seat.process.stdin.flush()
        except OSError:  # it has ended; the next step sees that
            return

    def _look_after(self, seat: Seat, mono: float) -> None:
        if seat.process is None:
            if not (self._ending or seat.closed or seat.idle) and mono >= seat.start_at:
                try:
                    self._fill(seat)
                except OSError as error:  # no memory, no process ids, no file descriptors: that passes
                    self._not_started(seat, error, mono)
            return
        code = seat.process.poll()
        if code is None:
            return
        if seat.process.stdin is not None:
            with contextlib.suppress(OSError):  # a word that it did not live to read is flushed once more, and fails
                seat.process.stdin.close()
        pid, seat.process = seat.process.pid, None
        self._ended(seat, pid, code, mono)

    def _ended(self, seat: Seat, pid: int, code: int, mono: float) -> None:
        if code == EXIT_MISCONFIGURED:
            self._misconfigured = True
            self.end("drain")
            return
        retired, seat.retiring = seat.retiring, False
        if code == EXIT_DRAINED and not self._ending:
            seat.closed = not retired
            return
        if self._ending and code in (EXIT_DRAINED, EXIT_REPLACE):
            return
        crashed = code != EXIT_REPLACE
        reason = f"its process {ended_how(code)}" if crashed else "it wanted to be replaced"
        if crashed:
            self._bury(seat, reason)
        seat.restarts += 1
        lived_s = mono - seat.started_mono
        seat.failures = seat.failures + 1 if crashed and lived_s < _CALM_S else 0
        delay_s = min(_RESTART_MAX_S, _RESTART_MIN_S * 2.0**seat.failures) if seat.failures else 0.0
        seat.start_at = mono + delay_s
        self._app.emit(
            ev.WorkerProcessLost(seat.worker_id, pid, code, reason, seat.restarts, None if self._ending else delay_s)
        )
        if not (self._ending or seat.idle):
            which = {"pid": pid, "exit_code": code, "restarts": seat.restarts, "replaced_in_s": round(delay_s, 3)}
            self._housekeeper.acts.note(RESTART, seat.worker_id, reason if crashed else self._wish_of(seat), 0, which)

    def _wish_of(self, seat: Seat) -> str:
        """Why a process wanted to be replaced: its memory, its tasks, its faults."""
        try:
            worker = self._app.store.workers.get(seat.worker_id)
        except QueueDatabaseError:
            worker = None
        return worker.note if worker is not None and worker.note else "it wanted to be replaced"

    def _bury(self, seat: Seat, reason: str) -> None:
        try:
            self._housekeeper.reaper.bury([seat.worker_id], reason)
            self._app.store.workers.stop(seat.worker_id, WorkerStatus.LOST.value, reason, self._clock.now())
        except QueueDatabaseError:  # then its leases run out by themselves
            return

    # -- heartbeats

    def _watch_heartbeats(self, mono: float) -> None:
        for seat in self._seats:
            if seat.process is None:
                continue
            try:
                worker = self._app.store.workers.get(seat.worker_id)
            except QueueDatabaseError:  # nobody can report now, so nobody is late
                seat.seen_mono = mono
                continue
            beat = worker.heartbeat_utc if worker else None
            if beat != seat.seen or worker is None:
                seat.seen, seat.seen_mono, seat.stood_in_since = beat, mono, None
                continue
            late_s = mono - seat.seen_mono - self._options.heartbeat_s
            # Early enough to stand in: the last renewal may be a third of a lease older than the last heartbeat.
            if late_s > self._options.lease_s / 12:
                self._late(seat, late_s, mono)

    def _late(self, seat: Seat, late_s: float, mono: float) -> None:
        """A process that computes without a pause (the interpreter's lock in one C call) cannot renew its own leases.

        As long as it uses the processor, it is renewed for. One that does nothing is not: its leases run out, and it
        is ended, so that it cannot wake up beside its successor.
        """
        if seat.process is None:
            return
        lease_s = self._options.lease_s
        if computes(seat):
            seat.stood_in_since = seat.stood_in_since or mono
            if mono - seat.stood_in_since < _WEDGED_LEASES * lease_s:
                try:
                    self._app.store.work.renew([seat.worker_id], lease_s, self._clock.now())
                except QueueDatabaseError:  # the next look tries again
                    self._housekeeper.reaper.hold_off()
                return
        elif late_s < lease_s:
            return
        if not self._options.restart_wedged:
            return
        seat.process.kill()
        self._app.emit(
            ev.WorkerStateChanged(seat.worker_id, "wedged", f"no heartbeat for {late_s:.0f} s: its process is ended")
        )


def run(
    reference: str,
    config: WorkerConfig,
    *,
    database: str | None,
    log_level: str = "INFO",
    log_json: bool = False,
    promises: Promises = NONE_GIVEN,
) -> int:
    """Run worker processes for the application `reference` until a signal; the exit code.

    `promises`: what the settings say of single queues, which autoscaling holds.
    The first SIGTERM or Ctrl-C stops gracefully (see shutdown_grace_seconds), the second at once, the third kills.
    Raises ConfigurationError, QueueSchemaError, and QueueDatabaseError where the store cannot be opened.
    """
    app = load(reference, database)
    app.configure_logging(log_level, as_json=log_json)
    _wait_for_store(app)
    supervisor = Supervisor(
        app, reference, config, database=database, log_level=log_level, log_json=log_json, promises=promises
    )
    signals: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        # No more than this: a handler runs in the midst of this thread, and an event's lock may be held by it there.
        signals.append(number)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), on_signal)
    supervisor.start()
    heeded, never = 0, threading.Event()
    while supervisor.alive:
        app.clock.wait(never, _STEP_S)
        while heeded < len(signals):
            heeded += 1
            if heeded == 1:
                supervisor.end("drain")
            elif heeded == 2:
                supervisor.end("fast")
            else:
                supervisor.kill()
        supervisor.step()
    supervisor.close()
    return supervisor.exit_code


def _wait_for_store(app: Application) -> None:
    """Open the store, waiting while it is only busy."""
    from prismq.domain.errors import QueueBusyError

    for _ in range(3):
        try:
            app.store.check()
            return
        except QueueSchemaError:
            raise
        except QueueBusyError as error:
            sys.stderr.write(f"prismq: waiting for the store: {error}\n")
    app.store.check()
