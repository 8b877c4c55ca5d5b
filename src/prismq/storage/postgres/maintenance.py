"""The tables' own upkeep: statistics, dead rows, sizes, whether they are whole, and the books."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from prismq.domain.errors import QueueBusyError, QueueDatabaseError, QueueMaintenanceError
from prismq.storage.contract import Checkpoint, CheckpointMode, DatabaseStats
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.errors import translate
from prismq.storage.postgres.queries import query

_TABLE_SIZES = query("table_sizes")
_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r' ORDER BY 1"
_INVALID_INDEXES = query("invalid_indexes")
_AMCHECK = query("amcheck")
_HAS_AMCHECK = "SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"
_WAL_BYTES = "SELECT coalesce(sum(size), 0)::bigint FROM pg_ls_waldir()"
_LITTERED = query("littered")
_COMPARE_BOOKS = query("compare_books")
_MEND_BOOKS = query("mend_books")


def stats(database: PostgresDatabase) -> DatabaseStats:
    """See Keeping.stats. The log is the whole server's, and 0 where this user may not look (role pg_monitor)."""
    with database.reading() as connection:
        [(size, block, dead, allowed)] = connection.execute(_TABLE_SIZES, (database.schema,)).fetchall()
        [(wal,)] = connection.execute(_WAL_BYTES).fetchall() if allowed else [(0,)]
    return DatabaseStats(int(size) // block, int(block), int(dead) // block, True, int(wal))


def checkpoint(database: PostgresDatabase, mode: CheckpointMode) -> Checkpoint:
    """See Keeping.checkpoint. The server has one kind, whatever `mode` is, and makes it by itself as a rule."""
    try:
        with database.reading() as connection:
            connection.execute("CHECKPOINT")
    except QueueDatabaseError as error:
        if not isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise
        raise QueueMaintenanceError(
            f"PostgreSQL {database.name}: this user may not ask for a checkpoint. The server makes them by itself; for "
            f"one now, grant the role pg_checkpoint"
        ) from error
    return Checkpoint(busy=False, log=0, checkpointed=0)


def analyze(database: PostgresDatabase) -> None:
    """See Keeping.analyze."""
    _each_table(database, "ANALYZE")


def vacuum(database: PostgresDatabase) -> None:
    """See Keeping.vacuum. Dead rows become room for new ones; nobody waits for it, and the files do not shrink."""
    _each_table(database, "VACUUM (ANALYZE)")


def littered(database: PostgresDatabase) -> list[str]:
    """See Upkeep.littered."""
    with database.reading() as connection:
        return [table for (table,) in connection.execute(_LITTERED, (database.schema,)).fetchall()]


def sweep(database: PostgresDatabase, tables: Sequence[str]) -> None:
    """See Upkeep.sweep. What the server's own autovacuum is at is left to it."""
    _each_table(database, "VACUUM (SKIP_LOCKED)", tables)


def _each_table(database: PostgresDatabase, what: str, tables: Sequence[str] | None = None) -> None:
    if database.in_transaction:
        raise QueueMaintenanceError(
            f"PostgreSQL {database.name}: {what} cannot run inside a transaction: commit first. Nothing was changed"
        )
    with database.alone() as connection:
        try:
            # It takes as long as it takes; it stands in nobody's way.
            connection.answer_s = None
            connection.execute("SELECT set_config('statement_timeout', '0', false)")
            if tables is None:
                tables = [table for (table,) in connection.execute(_TABLES, (database.schema,)).fetchall()]
            for table in tables:
                connection.execute(
                    psycopg.sql.SQL("{} {}").format(
                        psycopg.sql.SQL(what), psycopg.sql.Identifier(database.schema, table)
                    )
                )
        except psycopg.errors.LockNotAvailable as error:
            raise QueueBusyError(f"PostgreSQL {database.name}: {what} found a table locked. Try again") from error
        except psycopg.Error as error:
            raise translate(error, database.name) from error


def integrity_check(database: PostgresDatabase, *, thorough: bool) -> list[str]:
    """See Keeping.integrity_check. Indexes are read page by page where the extension amcheck is installed."""
    damage = []
    with database.alone() as connection:
        try:
            connection.answer_s = None
            connection.execute("SELECT set_config('statement_timeout', '0', false)")
            rows = connection.execute(_INVALID_INDEXES, (database.schema,)).fetchall()
            damage += [f"index {name} is not valid; REINDEX it" for (name,) in rows]
            # To read every row, long values included, is to find pages and values that cannot be read.
            for (table,) in connection.execute(_TABLES, (database.schema,)).fetchall() if thorough else ():
                name = psycopg.sql.Identifier(database.schema, table)
                connection.execute(psycopg.sql.SQL("SELECT count(t::text) FROM {} AS t").format(name))
            if connection.execute(_HAS_AMCHECK).fetchone():
                connection.execute(_AMCHECK, (database.schema,))
        except (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted, psycopg.InternalError) as error:
            damage.append(str(error).strip().splitlines()[0])
        except psycopg.errors.InsufficientPrivilege:  # amcheck is for superusers unless granted: the rest was looked at
            pass
        except psycopg.Error as error:
            raise translate(error, database.name) from error
    return damage or ["ok"]


def compare_books(database: PostgresDatabase) -> dict[tuple[str, str, str, str], int]:
    """See Keeping.compare_books."""
    with database.reading() as connection:
        rows = connection.execute(_COMPARE_BOOKS).fetchall()
    return {(queue, type_, status, band): tasks for queue, type_, status, band, tasks in rows}


def mend_books(database: PostgresDatabase) -> int:
    """See Keeping.mend_books; to be called by one process at a time."""
    with database.transaction() as connection:
        return connection.execute(_MEND_BOOKS).rowcount
