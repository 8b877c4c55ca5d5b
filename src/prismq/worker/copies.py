"""What a supervisor puts by: backups at an interval, and tasks past their retention in the archive."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.times import to_epoch
from prismq.storage.archive import ArchiveWriter
from prismq.storage.backups import SCHEDULED, BackupFolder
from prismq.storage.contract import Retention, Store

_LOOK_S = 60.0
_AGAIN_S = 300.0  # after one that failed
_END_S = 10.0


@dataclass(frozen=True)
class BackupPlan:
    """A backup every `interval_s` seconds, of which the newest `keep` stay. `folder`: see BackupFolder."""

    interval_s: float
    keep: int = 10
    folder: str | None = None


class ScheduledBackups:
    """`step()` makes a backup when one is due, whichever process comes first; in a thread, for it may take long."""

    def __init__(self, store: Store, plan: BackupPlan, clock: Clock, emit: ev.Emit) -> None:
        self._keeping = store.keeping
        self._plan = plan
        self._clock = clock
        self._emit = emit
        self._folder = BackupFolder(store.keeping, clock, plan.folder)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._not_before = clock.monotonic()

    def step(self) -> float:
        """Look whether a backup is due; the seconds until the next look."""
        if self._thread is not None and self._thread.is_alive():
            return 1.0
        wait_s = max(self._due_in_s(), self._not_before - self._clock.monotonic())
        if wait_s > 0:
            return min(wait_s, _LOOK_S)
        self._thread = threading.Thread(target=self.make, name="prismq-backup", daemon=True)
        self._thread.start()
        return 1.0

    def make(self) -> None:
        """Make the backup that is due, unless another process does."""
        try:
            with self._keeping.alone("backup") as mine:
                if mine and self._due_in_s() <= 0:
                    start = self._clock.monotonic()
                    info = self._folder.create(SCHEDULED, self._stop.is_set)
                    self._emit(ev.BackupMade(str(info.path), info.size_bytes, self._clock.monotonic() - start))
                    self._folder.prune(self._plan.keep, name=SCHEDULED)
        except (QueueDatabaseError, OSError) as error:
            self._not_before = self._clock.monotonic() + min(_AGAIN_S, self._plan.interval_s)
            if not self._stop.is_set():
                self._emit(ev.ChoreFailed("backup", str(error)))

    def _due_in_s(self) -> float:
        now = self._clock.now()
        # One of the future was made before the clock was set back, and says nothing.
        past = [at for one in self._folder.list(SCHEDULED) if (at := to_epoch(one.created_at)) <= now]
        return max(past) + self._plan.interval_s - now if past else 0.0

    def close(self) -> None:
        """Give up a backup that is being made."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_END_S)


class Pruner:
    """Deletes what is past its retention, a small batch a call; where there is an archive, it is put there first."""

    def __init__(self, store: Store, retention: Retention, clock: Clock, archive_dir: str | None) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._archive = None if archive_dir is None else ArchiveWriter(store.keeping.folder / archive_dir, clock)

    def step(self) -> int:
        """How many tasks went. Raises QueueMaintenanceError where the archive cannot be written."""
        now = self._clock.now()
        if self._archive is None:
            return self._store.upkeep.prune(self._retention, now)
        with self._store.keeping.alone("archive") as mine:
            if not mine:  # the other one deletes them, too
                return 0
            return self._store.upkeep.prune(self._retention, now, self._archive.append)

    def close(self) -> None:
        """Let go of the archive's file."""
        if self._archive is not None:
            self._archive.close()
