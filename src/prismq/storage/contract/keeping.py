"""Keeping the database itself: copies of it, its files, its statistics, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Protocol

from prismq.domain.finding import Check


class CheckpointMode(str, Enum):
    """How much a checkpoint waits for others; the words are SQLite's."""

    PASSIVE = "PASSIVE"  # for nobody
    FULL = "FULL"  # for writers
    RESTART = "RESTART"  # for readers, too, so that the log begins anew
    TRUNCATE = "TRUNCATE"  # the same, and the file is cut to nothing

    def __str__(self) -> str:
        return self.value


class Checkpoint(NamedTuple):
    """What a checkpoint did. `busy`: somebody was in the way, and not all of it was done."""

    busy: bool
    log: int  # pages in the write-ahead log
    checkpointed: int  # of those, how many are in the database now


class DatabaseStats(NamedTuple):
    """How big the database is, and what of it is free. Engines without pages of their own count in blocks."""

    page_count: int
    page_size: int  # bytes
    freelist_count: int  # pages that hold nothing
    wal_mode: bool
    wal_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of the database without its log."""
        return self.page_count * self.page_size


class VerifiedCopy(NamedTuple):
    """What a backup that was found whole holds."""

    path: Path
    size_bytes: int
    schema_version: int
    tasks: int
    books_right: bool  # the kept counts equal the tasks; where not, `prismq doctor --fix` mends it after a restore


class Restored(NamedTuple):
    """Where the restored database lies, and where the one that was there before; None where there was none."""

    target: Path
    kept_aside: Path | None
    copy: VerifiedCopy


class Keeping(Protocol):
    """Keeping the database itself. Nothing here stands in the way of workers unless it says so."""

    @property
    def folder(self) -> Path:
        """Where relative paths begin: the folder of the database; the current one where the engine has none."""
        ...

    @property
    def backup_suffix(self) -> str:
        """How the names of backups end, such as `.db`."""
        ...

    def back_up(self, to: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        """Write a copy of this one moment's database to `to`, a new file. Claims and enqueues go on meanwhile.

        Where `stopped()` becomes true it is given up. Raises QueueBackupError and leaves no file.
        """
        ...

    def verify(self, path: Path, *, thorough: bool = True) -> VerifiedCopy:
        """Open the copy, read-only, and check all of it: form, indexes where `thorough`, schema, books.

        Raises QueueBackupError: not found, what is damaged, or not a copy that this version can restore.
        """
        ...

    def restore(self, path: Path, target: Path | None, now: float) -> Restored:
        """Put the copy in place of the database (or of `target`), all or nothing.

        The copy is verified first; what was there is kept aside and put back where the result is not right.
        Raises QueueBackupError, with nothing changed, while live workers are registered in what would be replaced.
        No fencing token or task id that was given out before is given out again.
        """
        ...

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """True for one process at a time that asks for `what`, false for the others; it ends with the process."""
        ...

    def stats(self) -> DatabaseStats:
        """How big the database is now."""
        ...

    def checkpoint(self, mode: CheckpointMode) -> Checkpoint:
        """Move what is in the write-ahead log into the database."""
        ...

    def analyze(self) -> None:
        """Refresh the planner's statistics from a sample; milliseconds, whatever the size."""
        ...

    def vacuum(self) -> None:
        """Give free pages back to the system. On SQLite it needs as much disk again, and nobody can write meanwhile.

        Raises QueueMaintenanceError inside a transaction, and QueueBusyError where others do not let go in time.
        """
        ...

    def integrity_check(self, *, thorough: bool = True) -> list[str]:
        """["ok"], or what is damaged, at most 100 lines. `thorough` compares indexes with their tables, too."""
        ...

    def compare_books(self) -> dict[tuple[str, str, str, str], int]:
        """By (queue, type, status, band): how many more tasks there are than the books say, as of one moment.

        Empty where the books are right. It counts the whole table.
        """
        ...

    def mend_books(self) -> int:
        """Correct the books by what `compare_books` finds; how many entries were wrong. Writers go on meanwhile."""
        ...

    def checks(self) -> Sequence[Check]:
        """What can go wrong with this engine in particular."""
        ...
