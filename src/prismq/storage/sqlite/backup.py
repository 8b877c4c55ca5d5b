"""Copies of the file: made while the queue works, and verified by opening them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from prismq.domain.errors import QueueBackupError, QueueDatabaseError
from prismq.storage.contract import VerifiedCopy
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.maintenance import books_of, integrity_of
from prismq.storage.sqlite.schema import migrations

# A step is short, so that giving up is; see `copy_into` for why their number does not matter to anyone else.
_PAGES_A_STEP = 1_024


def back_up(database: QueueDatabase, to: Path, stopped: Callable[[], bool]) -> None:
    """See Keeping.back_up."""
    try:
        make_private(to)
    except OSError as error:
        raise QueueBackupError(f"the backup {to} cannot be written ({error.strerror}). Nothing was changed") from error
    try:
        with own_connection(database) as source:
            copy_into(source, to, stopped)
    except (sqlite3.Error, OSError, QueueDatabaseError) as error:
        to.unlink(missing_ok=True)
        if isinstance(error, QueueBackupError):
            raise
        raise QueueBackupError(f"{database.db_path} could not be backed up to {to}: {error}") from error


def make_private(path: Path) -> None:
    """Make an empty file that only its owner reads, for payloads are nobody else's business. Raises OSError."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def own_connection(database: QueueDatabase) -> Iterator[sqlite3.Connection]:
    """A connection for this one purpose; a database in memory has but one."""
    if str(database.db_path) == ":memory:":
        yield database.get_connection()
        return
    with QueueDatabase(database.db_path, adopt=True) as own:
        yield own.get_connection()


def copy_into(source: sqlite3.Connection, to: Path, stopped: Callable[[], bool] = lambda: False) -> None:
    """Copy the whole database, as of one moment, into an empty file. Raises sqlite3.Error and QueueBackupError."""

    def look_up(*_: int) -> None:
        if stopped():
            raise QueueBackupError(f"the backup to {to} was given up: this process is ending")

    with closing(sqlite3.connect(to, isolation_level=None)) as copy:
        # Nobody reads it before it is whole, and it is flushed once, at the end.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        # In WAL mode a reader and the writers do not wait for each other. The copy is made inside one read
        # transaction: without it, a write between two steps would make the backup begin anew, for ever on a busy queue.
        nested = source.in_transaction
        if not nested:
            source.execute("BEGIN")
        try:
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(copy, pages=_PAGES_A_STEP, progress=look_up)
        finally:
            if not nested:
                source.execute("ROLLBACK")
    with closing(sqlite3.connect(to, isolation_level=None)) as copy:
        # One file: a backup with a -wal beside it would be half moved one day.
        copy.execute("PRAGMA journal_mode = DELETE")
    with to.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy so that nothing is written, not even beside it."""
    # A log beside it belongs to it: somebody opened the copy and wrote. Then SQLite has to see that.
    wal = path.with_name(f"{path.name}-wal")
    immutable = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{immutable}", uri=True, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        yield connection
    finally:
        connection.close()


def verify(path: Path, *, thorough: bool) -> VerifiedCopy:
    """See Keeping.verify."""
    if not path.is_file():
        raise QueueBackupError(f"backup not found: there is no file {path}. See `prismq backup list`")
    # Not read by hand: closing it would drop SQLite's locks, were it a database that this process has open.
    if not path.stat().st_size:
        raise QueueBackupError(f"{path} is no backup: it is empty. Use another one, see `prismq backup list`")
    try:
        with read_only(path) as connection:
            damage = integrity_of(connection, thorough=thorough)
            if damage != ["ok"]:
                raise QueueBackupError(
                    f"the backup {path} is corrupt: {'; '.join(damage[:3])}. Use another backup, and check the disk"
                )
            version = _schema_version(connection, path)
            tasks = connection.execute("SELECT count(*) FROM task_queue").fetchone()[0]
            return VerifiedCopy(path, path.stat().st_size, version, int(tasks), not books_of(connection))
    except sqlite3.Error as error:
        raise QueueBackupError(
            f"the backup {path} is corrupt: {error}. Use another backup, and check the disk"
        ) from error


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"schema_migrations", "task_queue", "books"} <= tables:
        raise QueueBackupError(f"{path} is a SQLite database, but no backup of a queue: it has no queue's tables")
    theirs = dict(connection.execute("SELECT version, checksum FROM schema_migrations ORDER BY version").fetchall())
    ours = {migration.version: migration.checksum for migration in migrations()}
    newest = max(theirs, default=0)
    if newest > max(ours):
        raise QueueBackupError(
            f"the backup {path} has schema version {newest}; this prismq knows versions up to {max(ours)}. "
            f"Restore it with the prismq that made it, or a later one"
        )
    changed = [version for version, checksum in theirs.items() if ours.get(version) != checksum]
    if changed or not theirs:
        raise QueueBackupError(
            f"the backup {path} was made by a changed copy of prismq (migration {changed[0] if changed else 1} is not "
            f"the one that this prismq ships). Restore it with that copy"
        )
    return int(newest)
