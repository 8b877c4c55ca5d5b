"""A folder of backups: names, lists, and how many are kept. What a backup is, the engine says (Keeping)."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prismq.clock import Clock
from prismq.domain.errors import QueueBackupError
from prismq.domain.times import UTC, from_epoch
from prismq.storage.contract import Keeping
from prismq.storage.files import flush_folder

SCHEDULED = "scheduled"  # the name of those that workers make by themselves
DEFAULT_FOLDER = "backups"  # beside the database

_PREFIX = "queue_backup_"
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_STAMPED = re.compile(r"(?P<stamp>\d{8}T\d{6}\.\d{6}Z)(?:-\d+)?$")
_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)
_HALF = ".half-"
_DEAD_S = 3600.0  # a copy that nobody has written to for so long was left by a process that died
_MB = 1_048_576


@dataclass(frozen=True)
class BackupInfo:
    """A backup in its folder. `created_at` is UTC: the moment that its name tells, else the file's own time."""

    path: Path
    size_bytes: int
    created_at: datetime

    @property
    def size_mb(self) -> float:
        """In units of 1,048,576 bytes."""
        return self.size_bytes / _MB


class BackupFolder:
    """Backups of one queue in one folder, which is made when it is needed.

    A relative `folder` is taken from the database's own; None is `backups` beside it.
    """

    def __init__(self, keeping: Keeping, clock: Clock, folder: str | os.PathLike[str] | None = None) -> None:
        self._keeping = keeping
        self._clock = clock
        self.folder = keeping.folder / (folder or DEFAULT_FOLDER)

    def create(self, name: str | None = None, stopped: Callable[[], bool] = lambda: False) -> BackupInfo:
        """Back up now, and verify the copy; `name` becomes part of the file's.

        The file appears under its name when it is whole. Raises QueueBackupError, and leaves nothing.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise QueueBackupError(
                f"{name!r} cannot be part of a file's name: letters, digits, '_', '-' and '.' can, at most 100 of them"
            )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise QueueBackupError(f"the folder {self.folder} cannot be used ({error.strerror})") from error
        half = self.folder / f".{_PREFIX}{_HALF}{uuid.uuid4().hex}"
        moment = from_epoch(self._clock.now())
        try:
            self._keeping.back_up(half, stopped)
            self._keeping.verify(half, thorough=False)
            return _info(self._publish(half, name, moment))
        except OSError as error:
            raise QueueBackupError(f"the backup in {self.folder} failed: {error}. Nothing was left there") from error
        finally:
            half.unlink(missing_ok=True)

    def _publish(self, half: Path, name: str | None, moment: datetime) -> Path:
        stem = f"{_PREFIX}{name + '_' if name else ''}{moment.strftime(_STAMP)}"
        number = 1
        while True:
            path = self.folder / f"{stem}{'' if number == 1 else f'-{number}'}{self._keeping.backup_suffix}"
            try:
                # The name is taken first, so that two processes of one moment do not take the same.
                path.open("xb").close()
            except FileExistsError:
                number += 1
                continue
            half.replace(path)
            flush_folder(self.folder)
            return path

    def list(self, name: str | None = None) -> list[BackupInfo]:
        """Newest first; with `name`, only those that were given it."""
        wanted = re.compile(re.escape(f"{_PREFIX}{name}_") + _STAMPED.pattern) if name else None
        found = []
        for path in self.folder.glob(f"{_PREFIX}*{self._keeping.backup_suffix}"):
            if wanted is not None and not wanted.fullmatch(path.stem):
                continue
            try:
                info = _info(path)
            except FileNotFoundError:  # another process has just pruned it
                continue
            if info.size_bytes:  # a name that was taken by a process that then died
                found.append(info)
        return sorted(found, key=lambda one: (one.created_at, one.path.name), reverse=True)

    def prune(self, keep: int, *, name: str | None = None, younger_s: float | None = None) -> int:
        """Delete all but the newest `keep`, and but those younger than `younger_s` seconds; how many went."""
        if keep < 0:
            raise QueueBackupError(f"keep_count = {keep}: it must be 0 or more. Nothing was deleted")
        gone = 0
        for info in self.list(name)[keep:]:
            if younger_s is not None and (from_epoch(self._clock.now()) - info.created_at).total_seconds() < younger_s:
                continue
            try:
                info.path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise QueueBackupError(f"the backup {info.path} cannot be deleted ({error.strerror})") from error
            gone += 1
        return gone

    def _sweep(self) -> None:
        for path in self.folder.glob(f".{_PREFIX}{_HALF}*"):
            try:
                if self._clock.now() - path.stat().st_mtime > _DEAD_S:
                    path.unlink()
            except FileNotFoundError:
                continue


def _info(path: Path) -> BackupInfo:
    status = path.stat()
    found = _STAMPED.search(path.stem)
    moment = from_epoch(status.st_mtime)
    if found:
        moment = datetime.strptime(found["stamp"], _STAMP).replace(tzinfo=UTC)
    return BackupInfo(path, status.st_size, moment)
