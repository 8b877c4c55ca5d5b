"""What goes wrong with a SQLite file in practice, and how to see it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from prismq.domain.errors import QueueDatabaseError, QueueMaintenanceError
from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.words import plural
from prismq.storage.contract import CheckpointMode
from prismq.storage.findings import payloads_check, writable
from prismq.storage.sqlite import maintenance
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.location import is_temporary
from prismq.storage.sqlite.queries import query

_MB = 1_048_576
# A checkpoint is due every 1,000 pages (4 MB); a log of this size was not checkpointed, or not from its beginning.
WAL_BYTES_MAX = 64 * _MB
# Too little to grow by a busy day, or for a copy; an absolute number, as disks of all sizes fill at the same speed.
FREE_BYTES_MIN = 512 * _MB
BLOAT_BYTES_MIN = 64 * _MB
BLOAT_RATIO = 0.5
PAYLOADS_MAX = 200_000  # waiting tasks of each kind that are looked at

_UNREADABLE = (query("unreadable_queued"), query("unreadable_scheduled"))


def checks_of(database: QueueDatabase) -> Sequence[Check]:
    """Every check of the file; most for the state it is in, the last for all of its pages."""
    return (
        Check(
            "location", "a file where the system clears up at reboot", "",
            lambda now: _location(database),
        ),
        Check(
            "writable", "a lock that another program holds, a read-only file, a full disk", "",
            lambda now: writable(lambda: _write(database), lambda: f"End that transaction.{_who(database.db_path)}"),
        ),
        Check(
            "wal", "a write-ahead log that grows, because a reader holds on to an old state or nobody checkpoints",
            "checkpoints", lambda now: _wal(database),
        ),
        Check("disk", "little free space on the volume of the file", "", lambda now: _disk(database)),
        Check(
            "bloat", "free pages that take more than half of the file; auto_vacuum, which slows commits", "",
            lambda now: _bloat(database),
        ),
        payloads_check(lambda: _unreadable(database)),
        Check(
            "integrity", "damaged pages (reads the whole file: `--skip integrity` for a large one)", "",
            lambda now: _integrity(database),
        ),
    )  # fmt: skip


def _location(database: QueueDatabase) -> Iterator[Finding]:
    # A network file system is refused when the file is opened; see `unopened`.
    if is_temporary(database.db_path.absolute()):
        yield Finding(
            "location", Severity.WARNING,
            f"the queue lies in {database.db_path.absolute()}",
            "That folder is cleared at reboot, and by some systems every few days: all tasks would be gone.",
            "Run `prismq init` in a folder that lasts, or set PRISMQ_QUEUE_DB_PATH, and move the tasks with "
            "`prismq backup create` and `prismq backup restore --to`.",
        )  # fmt: skip


def _write(database: QueueDatabase) -> None:
    with database.transaction() as connection:
        connection.execute("SELECT 1")


def _unreadable(database: QueueDatabase) -> list[int]:
    return [int(row["id"]) for sql in _UNREADABLE for row in database.execute(sql, (PAYLOADS_MAX,)).fetchall()]


def _wal(database: QueueDatabase) -> Iterator[Finding]:
    size = maintenance.wal_bytes(database.db_path)
    if size <= WAL_BYTES_MAX:
        return
    # Waits for nobody, and moves only what every reader has left behind.
    done = maintenance.checkpoint(database, CheckpointMode.PASSIVE)
    pinned = done.checkpointed < done.log
    what = f"the write-ahead log has {size / _MB:,.0f} MB"
    if pinned:
        what += f", of which a reader holds back {plural(done.log - done.checkpointed, 'page')}"

    def mend() -> str:
        after = maintenance.checkpoint(database, CheckpointMode.TRUNCATE)
        if after.busy:
            raise QueueMaintenanceError(
                f"the log could not be cut: a reader still holds on to an old state.{_who(database.db_path)}"
            )
        return "checkpointed, and cut the write-ahead log to nothing"

    yield Finding(
        "wal", Severity.WARNING, what,
        "Every read has to look into it, so that all becomes slower, and it takes disk until it is checkpointed.",
        f"End the reader: a transaction left open in a program or a database tool.{_who(database.db_path)}" if pinned
        else "Run `prismq maintenance checkpoint --mode truncate`.",
        mend,
    )  # fmt: skip


def _who(path: Path) -> str:
    """The processes that have the file open, as far as this user may see them."""
    names = []
    wanted = str(path.resolve())
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if any(file.path == wanted for file in process.open_files()):
                names.append(f"{process.info['name']} (pid {process.info['pid']})")
        except (psutil.Error, OSError):
            continue
    return f" These have the file open: {', '.join(names[:8])}." if names else ""


def _disk(database: QueueDatabase) -> Iterator[Finding]:
    usage = shutil.disk_usage(database.db_path.absolute().parent)
    if usage.free >= FREE_BYTES_MIN:
        return
    yield Finding(
        "disk", Severity.PROBLEM,
        f"only {usage.free / _MB:,.0f} MB are free on the volume of {database.db_path}",
        "When it is full nothing can be written: enqueues fail, and workers wait until there is space again.",
        "Free some space, shorten the retention (result_retention_seconds, log_retention_seconds), or move the queue.",
    )  # fmt: skip


def _bloat(database: QueueDatabase) -> Iterator[Finding]:
    stats = maintenance.stats(database)
    free = stats.freelist_count * stats.page_size
    if free >= BLOAT_BYTES_MIN and stats.freelist_count > BLOAT_RATIO * stats.page_count:
        yield Finding(
            "bloat", Severity.WARNING,
            f"{free / _MB:,.0f} of the file's {stats.total_bytes / _MB:,.0f} MB are free pages",
            "They are used again for new tasks, so this costs disk and longer backups, and nothing else.",
            "When the queue is quiet, `prismq maintenance vacuum` gives them back; nobody can write meanwhile.",
        )  # fmt: skip
    if int(database.execute_read("PRAGMA auto_vacuum")[0]):
        yield Finding(
            "bloat", Severity.NOTE,
            "the file was made with auto_vacuum",
            "Each commit that frees pages moves others about, which makes every deletion slower.",
            "Run `PRAGMA auto_vacuum = 0; VACUUM` once with a SQLite tool while no worker runs.",
        )  # fmt: skip


def _integrity(database: QueueDatabase) -> Iterator[Finding]:
    try:
        damage = maintenance.integrity_check(database, thorough=False)
    except (QueueDatabaseError, sqlite3.Error) as error:
        damage = [str(error)]
    if damage != ["ok"]:
        yield Finding(
            "integrity", Severity.PROBLEM,
            f"the file is damaged: {'; '.join(damage[:3])}",
            "Some tasks can no longer be read, and writing to it may damage more.",
            "Stop the workers, keep a copy of the file, and restore the latest backup: `prismq backup list`, "
            "`prismq backup restore`. Then find out why: a disk, a crash of the machine, a copy made of the open file.",
        )  # fmt: skip
