"""The Keeping protocol on SQLite; each of its parts has a module."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from prismq.domain.errors import QueueMaintenanceError
from prismq.domain.finding import Check
from prismq.storage.contract import Checkpoint, CheckpointMode, DatabaseStats, Restored, VerifiedCopy
from prismq.storage.sqlite import backup, maintenance
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.diagnosis import checks_of
from prismq.storage.sqlite.restore import restore


class SqliteKeeping:
    """The Keeping protocol on SQLite."""

    backup_suffix = ".db"

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    @property
    def folder(self) -> Path:
        """See Keeping.folder."""
        return self._database.db_path.absolute().parent

    def back_up(self, to: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        """See Keeping.back_up."""
        backup.back_up(self._database, to, stopped)

    def verify(self, path: Path, *, thorough: bool = True) -> VerifiedCopy:
        """See Keeping.verify."""
        return backup.verify(path, thorough=thorough)

    def restore(self, path: Path, target: Path | None, now: float) -> Restored:
        """See Keeping.restore."""
        return restore(self._database, path, target, now)

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """See Keeping.alone."""
        path = self._database.db_path
        if str(path) == ":memory:":
            yield True
            return
        # An empty database beside the queue's: SQLite's own lock is one that the system drops with the process.
        lock = path.with_name(f"{path.name}.{what}.lock")
        try:
            connection = sqlite3.connect(lock, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise QueueMaintenanceError(f"{lock} cannot be made ({error}). Check the rights of its folder") from error
        with closing(connection):
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise QueueMaintenanceError(f"{lock} cannot be locked ({error}). Check its rights") from error
                yield False
                return
            yield True

    def stats(self) -> DatabaseStats:
        """See Keeping.stats."""
        return maintenance.stats(self._database)

    def checkpoint(self, mode: CheckpointMode) -> Checkpoint:
        """See Keeping.checkpoint."""
        return maintenance.checkpoint(self._database, mode)

    def analyze(self) -> None:
        """See Keeping.analyze."""
        maintenance.analyze(self._database)

    def vacuum(self) -> None:
        """See Keeping.vacuum."""
        maintenance.vacuum(self._database)

    def integrity_check(self, *, thorough: bool = True) -> list[str]:
        """See Keeping.integrity_check."""
        return maintenance.integrity_check(self._database, thorough=thorough)

    def compare_books(self) -> dict[tuple[str, str, str, str], int]:
        """See Keeping.compare_books."""
        return maintenance.compare_books(self._database)

    def mend_books(self) -> int:
        """See Keeping.mend_books."""
        with self.alone("books") as mine:
            if not mine:
                raise QueueMaintenanceError("another process is mending the books just now. Look again in a minute")
            return maintenance.mend_books(self._database)

    def checks(self) -> Sequence[Check]:
        """See Keeping.checks."""
        return checks_of(self._database)
