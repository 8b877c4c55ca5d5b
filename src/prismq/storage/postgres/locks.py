"""One process at a time, without a leader: advisory locks that go with the transaction, and so with the process."""

from __future__ import annotations

from prismq.storage.postgres.database import Connection, PostgresDatabase


def alone(database: PostgresDatabase, connection: Connection, what: str, *, wait: bool = False) -> bool:
    """Whether this transaction is the one that does `what` now; until it ends, no other is. `wait` for one's turn."""
    key = (database.lock_key(what),)
    if wait:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", key)
        return True
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", key).fetchone()
    return row is not None and bool(row[0])
