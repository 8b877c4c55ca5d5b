"""The steps that need doing once per queue, not per task: in one thread, in every supervisor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import QueueDatabaseError, QueueMaintenanceError
from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.outcome import describe
from prismq.storage.contract import Retention, Store
from prismq.worker.acts import Acts
from prismq.worker.copies import BackupPlan, Pruner, ScheduledBackups
from prismq.worker.reaper import Reaper
from prismq.worker.remedy import EVERY_S, Remedy, RemedyPlan
from prismq.worker.scheduler import Scheduler, ScheduleTracing
from prismq.worker.sweeper import SWEEP_S, Sweeper

_PRUNE_S = 30.0
_FOLD_S = 60.0
_BOOK_S = 2.0


class Housekeeper:
    """`step()` runs what is due of reaper, scheduler, pruner, folding, booking and sweeping."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: Random,
        emit: ev.Emit,
        *,
        lease_s: float,
        retention: Retention,
        archive_dir: str | None = None,
        backups: BackupPlan | None = None,
        tracing: ScheduleTracing | None = None,
        chores: Sequence[Callable[[], float]] = (),
        remedies: RemedyPlan | None = None,
    ) -> None:
        """`chores`: what else is to be done, each returning the seconds until it wants to be done again."""
        self._store = store
        self._clock = clock
        self._rng = rng
        self._emit = emit
        self._retention = retention
        self._pruner = Pruner(store, retention, clock, archive_dir)
        self._backups = None if backups is None else ScheduledBackups(store, backups, clock, emit)
        self.acts = Acts(store.remedies, clock, emit)
        plan = remedies or RemedyPlan()
        self.reaper = Reaper(store.upkeep, clock, emit, lease_s=lease_s, acts=self.acts, reclaims=plan.reclaim)
        self._remedy = Remedy(store, clock, self.acts, plan)
        self._scheduler = Scheduler(store.schedules, clock, emit, tracing)
        sweeper = Sweeper(store.upkeep, clock, emit)
        start = clock.monotonic()
        self._chores: list[tuple[Callable[[], float], list[float]]] = [
            (self.reaper.step, [start]),
            (self._scheduler.step, [start]),
            (self._book, [start + _BOOK_S]),
            (self._prune, [start + _PRUNE_S * rng.random()]),
            (self._fold, [start + _FOLD_S * rng.random()]),
            (sweeper.step, [start + SWEEP_S * rng.random()]),
            (self._remedy.step, [start + EVERY_S * rng.random()]),
        ]
        if self._backups is not None:
            self._chores.append((self._backups.step, [start]))
        self._chores += [(chore, [start]) for chore in chores]
        self._archive_failed: str | None = None
        self.last_error: str | None = None

    def close(self) -> None:
        """Give up what takes long, and let go of files."""
        if self._backups is not None:
            self._backups.close()
        self._pruner.close()
        with suppress(QueueDatabaseError):  # then the duty runs out
            self._remedy.close()

    def step(self) -> float:
        """Do what is due; the seconds until there is more."""
        for chore, due in self._chores:
            mono = self._clock.monotonic()
            if mono < due[0]:
                continue
            try:
                due[0] = mono + chore()
                self.last_error = None
            except QueueDatabaseError as error:
                # Tried again; the workers report the fault, and these chores can wait.
                self.last_error = str(error)
                due[0] = mono + self._rng.uniform(1.0, 3.0)
            except Exception as error:  # noqa: BLE001 - a fault of ours, or a row that nobody foresaw: the rest goes on
                info = describe(error)
                self.last_error = f"{info.type}: {info.message}"
                self._emit(ev.WorkerStateChanged("housekeeper", "faulty", f"{info.message}\n{info.traceback}"))
                due[0] = mono + self._rng.uniform(5.0, 15.0)
        mono = self._clock.monotonic()
        return max(0.01, min(due[0] for _, due in self._chores) - mono)

    def _book(self) -> float:
        # Fewer than that means: no more waits. New ones come all the time.
        return 0.0 if self._store.upkeep.book(self._clock.now()) >= BOOK_CHUNK else _BOOK_S

    def _prune(self) -> float:
        try:
            pruned = self._pruner.step()
        except QueueMaintenanceError as error:
            if str(error) != self._archive_failed:  # told once, and tried again for as long as it takes
                self._archive_failed = str(error)
                self._emit(ev.ChoreFailed("archive", str(error)))
            return _PRUNE_S
        self._archive_failed = None
        self._store.workers.forget(self._clock.now() - self._retention.workers_s)
        if pruned:
            self._emit(ev.TasksPruned(pruned))
        # A pause between batches: claims and completions go first.
        return 0.2 if pruned else _PRUNE_S

    def _fold(self) -> float:
        return 0.5 if self._store.upkeep.fold(self._clock.now()) else _FOLD_S
