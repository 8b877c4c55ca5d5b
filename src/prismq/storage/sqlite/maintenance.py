"""The file's own upkeep: the log, statistics, free pages, and whether it is whole."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

from prismq.domain.errors import QueueMaintenanceError
from prismq.storage.contract import Checkpoint, CheckpointMode, DatabaseStats, Depth
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.errors import translate, translated
from prismq.storage.sqlite.queries import query

_RECOUNT = query("recount_booked")
_ADD_DEPTH = query("add_depth")
# Rows that ANALYZE looks at in each index, of however many; sqlite.org/pragma.html advises 100 to 1000.
_ANALYSIS_LIMIT = 1_000
_DAMAGE_LINES_MAX = 100


def stats(database: QueueDatabase) -> DatabaseStats:
    """See Keeping.stats."""

    def pragma(name: str) -> int:
        return int(database.execute_read(f"PRAGMA {name}")[0])

    mode = str(database.execute_read("PRAGMA journal_mode")[0])
    return DatabaseStats(
        page_count=pragma("page_count"),
        page_size=pragma("page_size"),
        freelist_count=pragma("freelist_count"),
        wal_mode=mode.lower() == "wal",
        wal_bytes=wal_bytes(database.db_path),
    )


def wal_bytes(path: Path) -> int:
    """The size of the log beside the file; 0 where there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0


def checkpoint(database: QueueDatabase, mode: CheckpointMode) -> Checkpoint:
    """See Keeping.checkpoint."""
    busy, log, done = database.execute_read(f"PRAGMA wal_checkpoint({mode.value})")
    return Checkpoint(bool(busy), max(0, int(log)), max(0, int(done)))


def analyze(database: QueueDatabase) -> None:
    """See Keeping.analyze."""
    database.execute_read(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
    database.execute("ANALYZE")


def vacuum(database: QueueDatabase) -> None:
    """See Keeping.vacuum."""
    if database.get_connection().in_transaction:
        raise QueueMaintenanceError(
            f"{database.db_path} cannot be vacuumed inside a transaction: commit first. Nothing was changed"
        )
    database.execute("VACUUM")


def integrity_of(connection: sqlite3.Connection, *, thorough: bool) -> list[str]:
    """["ok"], or what is damaged."""
    check = "integrity_check" if thorough else "quick_check"
    return [str(row[0]) for row in connection.execute(f"PRAGMA {check}({_DAMAGE_LINES_MAX})").fetchall()]


def integrity_check(database: QueueDatabase, *, thorough: bool) -> list[str]:
    """See Keeping.integrity_check."""
    try:
        return integrity_of(database.get_connection(), thorough=thorough)
    except sqlite3.OperationalError as error:
        raise translate(error, str(database.db_path)) from error
    except sqlite3.DatabaseError as error:  # so damaged that the check itself cannot go on
        return [str(error)]


def books_of(connection: sqlite3.Connection) -> Depth:
    """By (queue, type, status, band), how many more tasks there are than the books say; both as of one moment."""
    nested = connection.in_transaction
    if not nested:
        connection.execute("BEGIN")
    try:
        missing: Counter[tuple[str, str, str, str]] = Counter()
        for queue, type_, status, band, tasks in connection.execute("SELECT * FROM queue_depth"):
            missing[queue, type_, status, band] -= tasks
        for queue, type_, status, band, tasks in connection.execute(_RECOUNT):
            missing[queue, type_, status, band] += tasks
    finally:
        if not nested:
            connection.execute("COMMIT")
    return {key: tasks for key, tasks in missing.items() if tasks}


def compare_books(database: QueueDatabase) -> Depth:
    """See Keeping.compare_books."""
    with translated(str(database.db_path)):
        return books_of(database.get_connection())


def mend_books(database: QueueDatabase) -> int:
    """See Keeping.mend_books; to be called by one process at a time.

    What is missing is added, rather than the count written: whoever changes tasks meanwhile adds, too, and so the
    table need not be counted under the writer's lock.
    """
    missing = compare_books(database)
    if missing:
        database.execute_many(_ADD_DEPTH, [(*key, tasks) for key, tasks in missing.items()])
    return len(missing)
