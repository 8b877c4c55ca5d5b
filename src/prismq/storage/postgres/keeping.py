"""The Keeping protocol on PostgreSQL; each of its parts has a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from prismq.domain.errors import QueueBackupError, QueueMaintenanceError
from prismq.domain.finding import Check
from prismq.storage.contract import Checkpoint, CheckpointMode, DatabaseStats, Restored, VerifiedCopy
from prismq.storage.postgres import backup, maintenance
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.diagnosis import checks_of
from prismq.storage.postgres.errors import translate
from prismq.storage.postgres.locks import alone


class PostgresKeeping:
    """The Keeping protocol on PostgreSQL."""

    backup_suffix = ".dump"

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    @property
    def folder(self) -> Path:
        """See Keeping.folder."""
        return Path.cwd()

    def back_up(self, to: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        """See Keeping.back_up."""
        backup.back_up(self._database, to, stopped)

    def verify(self, path: Path, *, thorough: bool = True) -> VerifiedCopy:
        """See Keeping.verify."""
        return backup.verify(path)

    def restore(self, path: Path, target: Path | None, now: float) -> Restored:
        """Raises QueueBackupError, which says how: a backup goes into a database of its own, not over a live one."""
        backup.verify(path)
        raise QueueBackupError(
            f"{path} is whole, and is not restored over PostgreSQL {self._database.name}, where others may be at work. "
            f"Create an empty database (createdb NAME), fill it (pg_restore --clean --if-exists --no-owner "
            f"--dbname=NAME {path}), look at it (prismq status --database postgresql://…/NAME), then give its URL to "
            f"workers and programs. Nothing was changed"
        )

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """See Keeping.alone."""
        with self._database.alone() as connection:
            try:
                connection.execute("BEGIN")
                mine = alone(self._database, connection, f"keeping {what}")
            except psycopg.Error as error:
                raise translate(error, self._database.name) from error
            yield mine

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
