"""A worker in the caller's own process, housekeeping included: for scripts, tests and small services."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from random import Random
from types import TracebackType

from typing_extensions import Self

from prismq.worker.application import Application
from prismq.worker.housekeeper import Housekeeper
from prismq.worker.options import WorkerOptions
from prismq.worker.probe import Probe
from prismq.worker.runtime import Runtime


class EmbeddedWorker:
    """`with q.worker(): ...` works in threads beside the block, and shuts down gracefully at its end.

    Nothing replaces this process when a task kills it: that is what `prismq worker` is for.
    """

    def __init__(
        self,
        app: Application,
        options: WorkerOptions,
        *,
        rng: Random,
        reference: str | None = None,
        program_log: tuple[str, bool] | None = None,
    ) -> None:
        self._app = app
        store = app.store
        self.runtime = Runtime(
            store, app.handlers, options, clock=app.clock, rng=rng, emit=app.emit, around=app.around,
            app=reference or _reference_of(app), database=app.database, tracing=app.tracing, redactor=app.redactor,
            program_log=program_log,
        )  # fmt: skip
        self.housekeeper = Housekeeper(
            store, app.clock, rng, app.emit, lease_s=options.lease_s, retention=options.retention,
            archive_dir=options.archive_dir, backups=options.backups, tracing=app.tracing,
            remedies=options.remedies,
        )  # fmt: skip
        self.probe = Probe(options.probe, app.clock, poll_s=options.poll_s)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_house, name="prismq-housekeeper", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def worker_id(self) -> str:
        """Its identity: a name and a boot id."""
        return self.runtime.worker_id

    def start(self) -> None:
        """Begin to work. Raises QueueDatabaseError where the store cannot be used, and ConfigurationError where
        probes cannot be answered as asked."""
        declare_schedules(self._app)
        self.probe.start()
        try:
            self.runtime.start()
        except BaseException:
            self.probe.close()
            raise
        self.probe.watch(self.runtime)
        self._thread.start()

    def stop(self, grace: float | None = None) -> int:
        """Stop claiming, let running tasks end for `grace` seconds, give the rest back; how many were left."""
        left = self.runtime.stop(grace)
        self._stop.set()
        self._thread.join(5.0)
        self.probe.close()
        self.housekeeper.close()
        return left

    def _keep_house(self) -> None:
        while not self._stop.is_set():
            self._app.clock.wait(self._stop, self.housekeeper.step())


def declare_schedules(app: Application) -> None:
    """Write the periodic tasks that the code declares."""
    for schedule in app.declared_schedules:
        app.store.schedules.declare(schedule, app.clock.now())


def _reference_of(app: Application) -> str | None:
    """`file.py:name` of a module-level PrismQ object, so that a task's own process can find it; None if it has none."""
    # The script that was started comes last: under its `if __name__ == "__main__"` a name is there for it alone.
    for _, module in sorted(sys.modules.items(), key=lambda item: item[0] == "__main__"):
        file = getattr(module, "__file__", None)
        if not file or not str(file).endswith(".py"):
            continue
        for name, value in list(vars(module).items()):
            if value is app:
                return f"{Path(file).resolve()}:{name}"
    return None
