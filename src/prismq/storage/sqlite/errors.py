"""SQLite's errors in the words of the person who has to mend them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from prismq.domain.errors import QueueBusyError, QueueDatabaseError
from prismq.storage.contract.transfer import GUARDED


def translate(error: sqlite3.Error, path: str) -> QueueDatabaseError:
    """The QueueDatabaseError for an error of SQLite on the database at `path`."""
    text = str(error)
    low = text.lower()
    if text.startswith(GUARDED):  # a move's guard has said it all
        return QueueDatabaseError(text)
    # Python 3.10 has no sqlite_errorcode, so the message decides on every version.
    if "locked" in low or "busy" in low:
        return QueueBusyError(
            f"the queue database {path} is locked by another program for longer than the busy timeout ({text}). "
            f"Nothing was changed; try again. If it persists, find who holds a write transaction open "
            f"(a shell with BEGIN, a backup tool, an editor of databases)."
        )
    if low == "interrupted":
        return QueueBusyError(
            f"queue database {path}: a statement took too long and was broken off; it changed nothing"
        )
    if "disk is full" in low or "database or disk" in low:
        advice = "the disk is full, so nothing was written. Free some space; workers go on by themselves"
    elif "readonly" in low or "read-only" in low:
        advice = "it cannot be written. Check the owner and the rights of the file and of its folder"
    elif "unable to open" in low:
        advice = "it cannot be opened. Check that its folder exists and may be read and written"
    elif "not a database" in low:
        advice = "the file is not a SQLite database. Give another path; this file was not touched"
    elif "malformed" in low or "corrupt" in low:
        advice = "the file is damaged. Stop the workers, keep a copy, and restore the latest backup"
    elif "disk i/o error" in low:
        advice = "the disk could not be read or written. Check the disk and the file system"
    elif "no such table" in low or "no such column" in low:
        advice = "it has no queue, or an older one. Run `prismq init` or `prismq migrate`"
    elif "foreign key" in low or "constraint" in low:
        advice = "a rule of the schema forbids it"
    elif "closed database" in low:
        advice = "the connection was closed. Open the queue again"
    else:
        advice = "SQLite refused it"
    return QueueDatabaseError(f"queue database {path}: {advice} ({text})")


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors inside the block into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
