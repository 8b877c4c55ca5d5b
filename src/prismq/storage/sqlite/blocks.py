"""Many rows with few statements.

The triggers on task_queue make SQLite open a savepoint for every statement that changes it, and AUTOINCREMENT a row
of its own: with 64 rows a statement a completion costs half, and so does a log line.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from typing_extensions import LiteralString

_BLOCKS = (64, 8, 1)


@cache
def _widened(sql: LiteralString, rows: int) -> str:
    head, row = sql.split("VALUES ", 1)
    row, tail = row[: row.index(")") + 1], row[row.index(")") + 1 :]
    return f"{head}VALUES {', '.join([row] * rows)}{tail}"


def execute_blocks(connection: sqlite3.Connection, sql: LiteralString, rows: Sequence[Sequence[Any]]) -> int:
    """Run `sql`, which has a `VALUES (?, …)` for one row, for all of `rows`; how many rows of the table changed."""
    changed = at = 0
    for size in _BLOCKS:
        while len(rows) - at >= size:
            block = rows[at : at + size]
            changed += connection.execute(_widened(sql, size), tuple(chain.from_iterable(block))).rowcount
            at += size
    return changed
