"""The yardstick: the standard library's sqlite3 on the same table, indexes and PRAGMAS; no books, no logs."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.pragmas import PRAGMAS

INSERT = "INSERT INTO task_queue (type, payload) VALUES (?, ?)"
CLAIM = """UPDATE task_queue
   SET status = 'claimed', attempts = attempts + 1, locked_by = 'raw', lease_until_utc = ?, reserved_at_utc = ?
 WHERE id IN (SELECT id FROM task_queue WHERE status = 'queued' AND queue = 'default' ORDER BY priority, id LIMIT ?)
RETURNING id, type, payload"""
COMPLETE = "UPDATE task_queue SET status = 'completed', finished_at_utc = ?, lease_until_utc = NULL WHERE id = ?"


def connect(path: Path) -> sqlite3.Connection:
    """A new database with our schema but without the triggers that keep the books."""
    with QueueDatabase(path) as database:
        database.initialize_schema()
        connection = database.get_connection()
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
    raw = sqlite3.connect(path)
    for name, value in PRAGMAS.items():
        raw.execute(f"PRAGMA {name} = {value}")
    return raw


def fill(connection: sqlite3.Connection, n: int) -> None:
    connection.executemany(INSERT, [("noop", f'{{"n":{i}}}') for i in range(n)])
    connection.commit()


def drain(connection: sqlite3.Connection, batch: int = 50) -> int:
    """Claim and complete in batches, two transactions each; how many."""
    done = 0
    while True:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 60))
        rows = connection.execute(CLAIM, (until, now, batch)).fetchall()
        connection.commit()
        if not rows:
            return done
        connection.executemany(COMPLETE, [(now, row[0]) for row in rows])
        connection.commit()
        done += len(rows)
