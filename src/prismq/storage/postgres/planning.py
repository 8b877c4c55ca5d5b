"""A transaction whose statements are planned by the order of indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.queries import query

_PLAN_BY_INDEX = query("plan_by_index")


def plan_by_index(connection: Connection) -> None:
    """For the rest of the transaction."""
    connection.execute(_PLAN_BY_INDEX)


@contextmanager
def planned_by_index(database: PostgresDatabase) -> Iterator[Connection]:
    """To look, not to write. Statements are sent without waiting for the answers of those before; to fetch waits."""
    with database.transaction(pipeline=True, looks=True) as connection:
        plan_by_index(connection)
        yield connection
