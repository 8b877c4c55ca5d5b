"""QueueBackup: backups of a queue from Python. The same as `prismq backup`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prismq.clock import Clock
from prismq.observability.source import source_of
from prismq.storage.backups import BackupFolder
from prismq.storage.backups import BackupInfo as BackupInfo

_DAY_S = 86_400.0


class QueueBackup:
    """Backups of the queue in `db` (a QueueDatabase, a PrismQ, or a store), in one folder: `backup_dir`, or `backups`
    beside the database.

    A relative `backup_dir` is taken from the database's own folder. Everything raises QueueBackupError, which says
    what happened and what to do.
    """

    def __init__(
        self, db: Any, backup_dir: str | os.PathLike[str] | None = None, *, clock: Clock | None = None
    ) -> None:
        store, self._clock = source_of(db, clock)
        self._keeping = store.keeping
        self._folder = BackupFolder(self._keeping, self._clock, backup_dir)

    @property
    def backup_dir(self) -> Path:
        """Where the backups lie. It is made with the first one."""
        return self._folder.folder

    def create_backup(self, name: str | None = None) -> Path:
        """Back up now, and verify the copy; its path. Workers and enqueues go on meanwhile.

        The copy is of one moment, the beginning. `name` (letters, digits, `_-.`) becomes part of the file's name,
        `queue_backup_NAME_TIME.db`; each call makes a file of its own.
        """
        return self._folder.create(name).path

    def verify_backup(self, path: str | os.PathLike[str]) -> bool:
        """True for a backup that can be restored: it is opened, read-only, and every page and index is checked.

        Raises QueueBackupError: not found, what is corrupt, or not a backup that this version can restore.
        """
        self._keeping.verify(Path(path))
        return True

    def list_backups(self) -> list[BackupInfo]:
        """Newest first; empty where there is none, and no folder."""
        return self._folder.list()

    def get_latest_backup(self) -> BackupInfo | None:
        """The newest, or None."""
        return next(iter(self._folder.list()), None)

    def cleanup_old_backups(self, keep_count: int = 10, keep_days: float | None = None) -> int:
        """Delete all but the newest `keep_count`; how many went. `keep_days`: those that are younger stay, too."""
        return self._folder.prune(keep_count, younger_s=None if keep_days is None else keep_days * _DAY_S)

    def restore_backup(self, path: str | os.PathLike[str], target_path: str | os.PathLike[str] | None = None) -> Path:
        """Put a backup in place of the database, or of `target_path`; the path of what was restored.

        The backup is verified first. What is there now is kept beside it as `NAME.before-restore-TIME`, and put back
        where the result is not right. Refused while workers live: stop them first. Other programs may keep the
        database open; they see the restored tasks from their next statement on. Leases of that time are over, and
        neither a fencing token nor a task's id that was given out since the backup is given out again.
        """
        target = None if target_path is None else Path(target_path)
        return self._keeping.restore(Path(path), target, self._clock.now()).target
