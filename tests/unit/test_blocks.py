"""Statements that carry many rows change as many, whatever their number."""

from __future__ import annotations

import sqlite3

import pytest

from prismq.storage.sqlite.blocks import execute_blocks


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 65, 200])
def test_every_row_is_written_once_and_counted(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    rows = [(i, f"?, ({i})") for i in range(count)]
    assert execute_blocks(connection, "INSERT INTO t (a, b) VALUES (?, ?)", rows) == count
    assert connection.execute("SELECT a, b FROM t ORDER BY a").fetchall() == rows
    connection.close()


def test_rows_that_do_not_match_are_not_counted() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    connection.executemany("INSERT INTO t VALUES (?, 0)", [(i,) for i in range(10)])
    update = "UPDATE t SET b = v.column2 FROM (VALUES (?, ?)) AS v WHERE a = v.column1"
    assert execute_blocks(connection, update, [(i, 1) for i in range(5, 20)]) == 5
    connection.close()
