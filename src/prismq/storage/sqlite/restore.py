"""Putting a backup in place of the queue's file, all or nothing, whoever else has it open.

A healthy file is not exchanged but overwritten, by SQLite, in one transaction: other connections then see the
restored tasks, as they would see any commit. A damaged file can only be exchanged, and only when nobody has it open.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueBackupError, QueueDatabaseError
from prismq.domain.times import epoch_to_text, from_epoch, text_to_epoch
from prismq.storage.contract import Restored
from prismq.storage.sqlite.backup import back_up, copy_into, make_private, read_only, verify
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.location import check_folder
from prismq.storage.sqlite.schema import applied

_LIVE = "status IN ('active', 'paused', 'draining')"
_SILENT_S = 60.0  # after that a worker counts as gone; see cli status
_BUSY_S = 10.0
_TRIES = 5
# What was given out since the backup is not known where the old file cannot be read.
_UNKNOWN_IDS = 1_000_000
_FENCE = 1_000_000
_BESIDE = ("-wal", "-shm", "-journal")


def restore(database: QueueDatabase, path: Path, target: Path | None, now: float) -> Restored:
    """See Keeping.restore."""
    own = target is None or _same(target, database.db_path)
    place = database.db_path if own else Path(target or "")
    if str(place) == ":memory:":
        raise QueueBackupError("a database in memory cannot be restored; give target_path, a file")
    if _same(path, place):
        raise QueueBackupError(f"{path} is the database itself, not a backup of it. Nothing was changed")
    verified = verify(path, thorough=True)
    check_folder(place)
    new = place.with_name(f"{place.name}.restoring-{os.getpid()}")
    aside = _free(place.with_name(f"{place.name}.before-restore-{from_epoch(now):%Y%m%dT%H%M%SZ}"))
    there = place.exists() and place.stat().st_size > 0
    kept: Path | None = aside
    try:
        make_private(new)
        with read_only(path) as source:
            copy_into(source, new)
        verify(new, thorough=False)
        if there:
            shutil.copymode(place, new)
            _replace(database if own else QueueDatabase(place, adopt=True), new, aside, now)
        else:
            database.close()
            kept = _set_aside(place, aside)
            if own:
                _fence(new, _UNKNOWN_IDS, now)
            _move_in(new, place)
        return Restored(place, kept, verified._replace(path=path))
    except (sqlite3.Error, OSError) as error:
        raise QueueBackupError(f"{place} could not be restored from {path}, and is as it was: {error}") from error
    finally:
        for name in ("", *_BESIDE):
            new.with_name(f"{new.name}{name}").unlink(missing_ok=True)


def _replace(database: QueueDatabase, new: Path, aside: Path, now: float) -> None:
    try:
        healthy = _is_queue(database)
        if healthy:
            _refuse_live(database, now)
            _overwrite(database, new, aside, now)
    except QueueBackupError:
        raise
    except (sqlite3.Error, QueueDatabaseError) as error:
        if not _is_damage(error):
            raise QueueBackupError(f"{database.db_path} could not be restored, and is as it was: {error}") from error
        healthy = False
    finally:
        database.close()
    if not healthy:
        if _occupied(database.db_path):
            raise QueueBackupError(
                f"{database.db_path} is damaged and some process has it open. Stop every worker, server and program "
                f"that uses it, then restore again. Nothing was changed"
            )
        _fence(new, _UNKNOWN_IDS, now)
        _exchange(database.db_path, new, aside)


def _is_queue(database: QueueDatabase) -> bool:
    if applied(database):
        return True
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    if tables:
        raise QueueBackupError(
            f"{database.db_path} is a database of another program (tables: {', '.join(tables[:5])}). "
            f"Give another target; nothing was changed"
        )
    return True  # an empty database: nothing is lost


def _is_damage(error: Exception) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("malformed", "corrupt", "damaged", "not a database", "not a sqlite database"))


def _refuse_live(database: QueueDatabase, now: float) -> None:
    if not applied(database):
        return
    rows = database.execute(f"SELECT worker_id, hostname, pid, heartbeat_utc FROM workers WHERE {_LIVE}").fetchall()
    live = [row["worker_id"] for row in rows if _lives(row, now)]
    if live:
        raise QueueBackupError(
            f"{database.db_path} was not restored, because {len(live)} of its workers live ({', '.join(live[:3])}): "
            f"they would go on with tasks that the backup knows nothing of. Stop them, then restore again"
        )


def _lives(row: sqlite3.Row, now: float) -> bool:
    try:
        silent_s = now - text_to_epoch(row["heartbeat_utc"])
    except ValueError:  # written by hand
        return False
    if silent_s > _SILENT_S:
        return False
    here = row["hostname"] == socket.gethostname() and row["pid"] is not None
    return not here or psutil.pid_exists(row["pid"])


def _overwrite(database: QueueDatabase, new: Path, aside: Path, now: float) -> None:
    live = database.get_connection()
    for _ in range(_TRIES):
        mark = _mark(live)
        back_up(database, aside, lambda: False)
        _fence(new, _ids_given_out(database), now)
        if _mark(live) == mark:
            break
        # Somebody wrote: what they wrote must be in the file that is kept aside.
        aside.unlink()
    else:
        raise QueueBackupError(
            f"{database.db_path} was not restored: some program keeps writing to it. Stop what enqueues, too"
        )
    _pour(new, live, database.db_path)
    damage = live.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        _pour(aside, live, database.db_path)
        aside.unlink()
        raise QueueBackupError(
            f"{database.db_path} was not right after the restore ({damage}) and has been put back as it was. "
            f"Check the disk"
        )
    live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _mark(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _ids_given_out(database: QueueDatabase) -> dict[str, int]:
    if not applied(database):
        return {}
    return {str(row[0]): int(row[1]) for row in database.execute("SELECT name, seq FROM sqlite_sequence").fetchall()}


def _pour(source: Path, live: sqlite3.Connection, place: Path) -> None:
    """Overwrite the whole of the live database in one transaction."""
    with read_only(source) as content:
        content.backup(live, pages=-1, progress=_patience(place), sleep=0.05)


def _patience(place: Path) -> Callable[[int, int, int], None]:
    deadline = SYSTEM_CLOCK.monotonic() + _BUSY_S

    def look_up(status: int, *_: int) -> None:
        if status in (5, 6) and SYSTEM_CLOCK.monotonic() > deadline:  # SQLITE_BUSY, SQLITE_LOCKED
            raise QueueBackupError(
                f"{place} is locked by another program for longer than {_BUSY_S:g} s. Nothing was changed; "
                f"find who holds a write transaction open"
            )

    return look_up


def _fence(copy: Path, given_out: dict[str, int] | int, now: float) -> None:
    """Make the copy safe to work with after what has happened since it was made.

    A process that still holds a lease from then must find its token stale, and must not meet its task's id on
    another task; and the workers of then are gone.
    """
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if isinstance(given_out, int):
            connection.execute("UPDATE sqlite_sequence SET seq = seq + ?", (given_out,))
            connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'task_queue', ?1 WHERE NOT EXISTS"
                " (SELECT 1 FROM sqlite_sequence WHERE name = 'task_queue')",
                (given_out,),
            )
        else:
            for name, seq in given_out.items():
                changed = connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (seq, name))
                if not changed.rowcount:
                    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, seq))
        connection.execute(
            "UPDATE task_queue SET fencing_token = fencing_token + ?"
            " WHERE status IN ('scheduled', 'queued', 'claimed', 'processing')",
            (_FENCE,),
        )
        text = epoch_to_text(now)
        connection.execute(
            "UPDATE task_queue SET lease_until_utc = ? WHERE status IN ('claimed', 'processing')", (text,)
        )
        connection.execute(
            f"UPDATE workers SET status = 'lost', note = 'gone: a backup was restored', stopped_at_utc = ?, busy = 0,"
            f" held = 0, hint_port = NULL WHERE {_LIVE}",
            (text,),
        )
        connection.execute("COMMIT")
        # As one file, so that it can be moved.
        connection.execute("PRAGMA journal_mode = DELETE")


def _exchange(place: Path, new: Path, aside: Path) -> None:
    _set_aside(place, aside)
    try:
        _move_in(new, place)
    except BaseException:
        for name in ("", *_BESIDE):
            with suppress(FileNotFoundError):
                place.with_name(f"{place.name}{name}").unlink()
            with suppress(FileNotFoundError):
                aside.with_name(f"{aside.name}{name}").rename(place.with_name(f"{place.name}{name}"))
        raise


def _move_in(new: Path, place: Path) -> None:
    new.replace(place)
    verify(place, thorough=False)


def _set_aside(place: Path, aside: Path) -> Path | None:
    """Move the file, and what belongs to it: a log left beside another file would be played into that one."""
    moved = None
    for name in ("", *_BESIDE):
        with suppress(FileNotFoundError):
            place.with_name(f"{place.name}{name}").replace(aside.with_name(f"{aside.name}{name}"))
            moved = aside
    return moved


def _free(path: Path) -> Path:
    number, found = 1, path
    while any(found.with_name(f"{found.name}{name}").exists() for name in ("", *_BESIDE)):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


if sys.platform == "win32":

    def _occupied(path: Path) -> bool:
        """On Windows a file that somebody has open cannot be moved away: moving it is the test."""
        try:
            path.rename(path)
        except OSError:
            return True
        return False

else:
    import fcntl

    def _occupied(path: Path) -> bool:
        """Whether another process has the database open: in WAL mode each holds a shared lock as long as it does.

        To be asked when this process has closed it: closing the file here drops this process's own locks.
        """
        with path.open("rb+") as file:
            try:
                # The bytes of SQLite's shared lock: PENDING_BYTE + 2, and 510 of them; see sqlite.org/src, os.h.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
            except OSError:
                return True
            fcntl.lockf(file, fcntl.LOCK_UN, 510, 0x40000002)
        return False
