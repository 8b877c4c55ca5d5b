"""QueueMaintenance: the database's own upkeep from Python. The same as `prismq maintenance`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prismq.clock import Clock
from prismq.domain.errors import QueueMaintenanceError
from prismq.observability.source import source_of
from prismq.storage.contract import CheckpointMode

if TYPE_CHECKING:
    from prismq.storage.contract import DatabaseStats

_MB = 1_048_576


class QueueMaintenance:
    """Upkeep of the database `db`: a QueueDatabase, a PrismQ, or a store.

    Everything raises QueueDatabaseError where the database cannot do it.
    """

    CHECKPOINT_PASSIVE = CheckpointMode.PASSIVE.value
    CHECKPOINT_FULL = CheckpointMode.FULL.value
    CHECKPOINT_RESTART = CheckpointMode.RESTART.value
    CHECKPOINT_TRUNCATE = CheckpointMode.TRUNCATE.value

    def __init__(self, db: Any, *, clock: Clock | None = None) -> None:
        self._store, self._clock = source_of(db, clock)

    def checkpoint(self, mode: str = CHECKPOINT_PASSIVE) -> dict[str, int]:
        """Move the write-ahead log into the database: `busy` (1: somebody was in the way), `log` and `checkpointed`.

        `log` and `checkpointed` are pages. PASSIVE waits for nobody, FULL for writers, RESTART for readers, too;
        TRUNCATE also cuts the file to nothing. Raises QueueMaintenanceError for any other mode.
        """
        try:
            chosen = CheckpointMode(str(mode).upper())
        except ValueError:
            names = ", ".join(one.value for one in CheckpointMode)
            raise QueueMaintenanceError(f"Invalid checkpoint mode {mode!r}; the modes are {names}") from None
        done = self._store.keeping.checkpoint(chosen)
        return {"busy": int(done.busy), "log": done.log, "checkpointed": done.checkpointed}

    def analyze(self) -> None:
        """Refresh the planner's statistics from a sample: milliseconds, whatever the size."""
        self._store.keeping.analyze()

    def vacuum(self) -> None:
        """Give free pages back to the system. It needs as much disk again, and nobody can write meanwhile."""
        self._store.keeping.vacuum()

    def integrity_check(self) -> list[str]:
        """`["ok"]`, or what is damaged, at most 100 lines. It reads the whole database."""
        return self._store.keeping.integrity_check()

    def cleanup_stale_leases(self, timeout_seconds: float = 300) -> int:
        """Return tasks whose lease ran out `timeout_seconds` ago or earlier to the queue; how many.

        Those without attempts left become dead letters, and those that were asked to stop are cancelled. Running
        workers do this by themselves within seconds; this is for when none runs.
        """
        if timeout_seconds < 0:
            raise QueueMaintenanceError(f"timeout_seconds = {timeout_seconds}: it must be 0 or more")
        returned = 0
        while expired := self._store.upkeep.expire_leases(self._clock.now(), overdue_s=timeout_seconds):
            returned += len(expired)
        return returned

    def get_database_stats(self) -> dict[str, Any]:
        """`page_count`, `page_size` (bytes), `total_size_mb`, `freelist_count` (pages), `wal_mode`, `wal_size_mb`."""
        return stats_dict(self._store.keeping.stats())

    def optimize(self, full: bool = False) -> dict[str, Any]:
        """ANALYZE, and with `full` VACUUM: `analyzed`, `vacuumed`, `stats_before`, `stats_after`."""
        before = self.get_database_stats()
        self.analyze()
        if full:
            self.vacuum()
        return {"analyzed": True, "vacuumed": full, "stats_before": before, "stats_after": self.get_database_stats()}


def stats_dict(stats: DatabaseStats) -> dict[str, Any]:
    """The figures for people and programs; sizes in units of 1,048,576 bytes."""
    return {
        "page_count": stats.page_count,
        "page_size": stats.page_size,
        "total_size_mb": stats.total_bytes / _MB,
        "freelist_count": stats.freelist_count,
        "wal_mode": stats.wal_mode,
        "wal_size_mb": stats.wal_bytes / _MB,
    }
