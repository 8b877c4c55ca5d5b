"""The entry of a worker process: `python -m prismq.worker.process`, started by the supervisor.

The first line on standard input is the order, as JSON; later lines are `drain` and `fast`. When the input ends, the
supervisor is gone, and the process winds down by itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from random import SystemRandom
from typing import Any, TextIO

from prismq.config import WorkerConfig
from prismq.domain.errors import ConfigurationError, QueueDatabaseError, QueueSchemaError
from prismq.worker.application import Application
from prismq.worker.loading import load
from prismq.worker.probe import Probe
from prismq.worker.runtime import Runtime
from prismq.worker.settings import options_of

EXIT_REPLACE = 75  # EX_TEMPFAIL of sysexits.h: fine, but wants a fresh process in its place
EXIT_DRAINED = 76  # ended as asked; a bare 0 may be a handler that called os._exit
EXIT_MISCONFIGURED = 78  # EX_CONFIG: another try would end the same way
_START_RETRY_S = (0.1, 5.0)


@dataclass(frozen=True)
class Order:
    """What the supervisor tells a process at its start."""

    app: str
    database: str | None
    config: dict[str, Any]
    worker_id: str
    supervisor_id: str
    restarts: int
    log_level: str
    log_json: bool
    number: int = 0  # of the processes of its supervisor

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str) + "\n"


class WorkerProcess:
    """Runs a Runtime until it is told to stop, and chooses the exit code."""

    def __init__(self, order: Order, app: Application) -> None:
        self._order = order
        self._app = app
        self._stop = threading.Event()
        self._fast = threading.Event()
        self._config = WorkerConfig(**order.config)
        self._runtime: Runtime | None = None
        self._replace = False
        options = options_of(self._config)
        self.capture_level = options.capture.level
        self._probe = Probe(options.probe, app.clock, number=order.number, poll_s=options.poll_s)

    def tell(self, word: str) -> None:
        """`drain`: stop gracefully. `fast`: at once."""
        if word == "fast":
            self._fast.set()
            if self._runtime is not None:
                self._runtime.hurry()
        self._stop.set()

    def run(self) -> int:
        """Work; the exit code. Raises ConfigurationError where probes cannot be answered as asked."""
        self._probe.start()
        try:
            return self._work()
        finally:
            self._probe.close()

    def _work(self) -> int:
        runtime = self._start()
        if runtime is None:
            return EXIT_DRAINED
        self._stop.wait()
        runtime.stop(0.0 if self._fast.is_set() or self._replace_at_once(runtime) else None)
        if runtime.held():
            runtime.settle_stuck()
        return EXIT_REPLACE if self._replace else EXIT_DRAINED

    def _start(self) -> Runtime | None:
        wait_s = _START_RETRY_S[0]
        while not self._stop.is_set():
            try:
                runtime = Runtime(
                    self._app.store,
                    self._app.handlers,
                    options_of(self._config),
                    clock=self._app.clock,
                    rng=SystemRandom(),
                    emit=self._app.emit,
                    around=self._app.around,
                    app=self._order.app,
                    database=self._order.database,
                    worker_id=self._order.worker_id,
                    supervisor_id=self._order.supervisor_id,
                    restarts=self._order.restarts,
                    tracing=self._app.tracing,
                    redactor=self._app.redactor,
                    program_log=(self._order.log_level, self._order.log_json),
                )
                runtime.on_want_exit = self._on_want_exit
                runtime.start()
            except QueueSchemaError:
                raise
            except QueueDatabaseError as error:
                # The disk is full, the file locked or away: that passes, and so the process waits for it.
                sys.stderr.write(f"prismq: worker {self._order.worker_id} is not ready: {error}\n")
                self._stop.wait(wait_s)
                wait_s = min(wait_s * 2, _START_RETRY_S[1])
                continue
            self._runtime = runtime
            self._probe.watch(runtime)
            return runtime
        return None

    def _on_want_exit(self, reason: str) -> None:
        self._replace = not reason.startswith("drained")
        self._stop.set()

    @staticmethod
    def _replace_at_once(runtime: Runtime) -> bool:
        # A stuck task is the reason to go: the others get the usual grace, it has had its own.
        held = runtime.held()
        return bool(held) and all(attempt.stop_why is not None for attempt in held)


def main() -> int:
    """Take the order from standard input and serve; the exit code."""
    # Handlers get an empty standard input: the supervisor's words are not for them.
    told = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull) as nothing:  # noqa: PTH123 - a device, not a path
        os.dup2(nothing.fileno(), 0)
    line = told.readline()
    if not line:
        return 0
    order = Order(**json.loads(line))
    # Ctrl-C reaches the whole group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        app = load(order.app, order.database)
        process = WorkerProcess(order, app)
        app.configure_logging(order.log_level, as_json=order.log_json, least=process.capture_level)
        signal.signal(signal.SIGTERM, lambda *_: process.tell("drain"))
        threading.Thread(target=_listen, args=(told, process), name="prismq-supervisor", daemon=True).start()
        code = process.run()
    except (ConfigurationError, QueueSchemaError) as error:
        sys.stderr.write(f"prismq: error: {error}\n")
        return EXIT_MISCONFIGURED
    return code


def _listen(told: TextIO, process: WorkerProcess) -> None:
    for line in told:
        process.tell(line.strip())
    process.tell("drain")


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of handlers that would not stop must not keep the process: what they held has been settled.
    os._exit(exit_code)
