"""Numbered migrations: applied in order, under an advisory lock, checked against what was applied before."""

from __future__ import annotations

import re

from prismq.domain.errors import QueueSchemaError
from prismq.storage.migrations import Migration, load_migrations
from prismq.storage.postgres.database import Connection, PostgresDatabase

# Not `schema_migrations`: in a database shared with others that name is often taken.
_APPLIED = "prismq_migrations"
_CREATE_APPLIED = (
    "CREATE TABLE :schema.prismq_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,"
    " applied_at_utc TIMESTAMPTZ NOT NULL DEFAULT now())"
)
_NOTE_APPLIED = "INSERT INTO :schema.prismq_migrations (version, name, checksum) VALUES (%s, %s, %s)"
_OURS = re.compile(r"^CREATE (?:TABLE|VIEW) :schema\.(\w+)", re.MULTILINE)


def migrations() -> list[Migration]:
    """Every migration of this version, in order; `:schema` stands for the schema."""
    return load_migrations("prismq.storage.postgres")


def applied(database: PostgresDatabase) -> dict[int, str]:
    """Version -> checksum of what this schema has; empty where there is no queue yet.

    Raises QueueSchemaError where it holds tables of these names that are somebody else's.
    """
    with database.reading() as connection:
        return _applied(connection, database)


def _applied(connection: Connection, database: PostgresDatabase) -> dict[int, str]:
    names = {
        name
        for (name,) in connection.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            (database.schema,),
        ).fetchall()
    }
    if _APPLIED in names:
        sql = "SELECT version, checksum FROM :schema.prismq_migrations"
        return dict(connection.execute(_placed(sql, database)).fetchall())
    taken = sorted(names & {name for migration in migrations() for name in _OURS.findall(migration.sql)})
    if taken:
        raise QueueSchemaError(
            f"PostgreSQL {database.name}: the schema {database.schema!r} holds tables of another program, with names "
            f"that the queue needs ({', '.join(taken[:5])}); nothing was touched. Give the queue a schema of its own: "
            f"add ?schema=NAME to the URL"
        )
    return {}


def pending(database: PostgresDatabase) -> list[int]:
    """The versions that this schema lacks. Raises QueueSchemaError where it must not be touched."""
    return [migration.version for migration in _missing(applied(database), database)]


def migrate(database: PostgresDatabase) -> list[int]:
    """Apply what is missing; the versions applied. Of several processes at once, one does it."""
    if not pending(database):
        return []
    done: list[int] = []
    with database.transaction() as connection:
        # Changing a table that is in use may take longer than any statement of the queue's.
        connection.answer_s = None
        connection.execute("SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '60s', true)")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (database.lock_key("migrate"),))
        for migration in _missing(_applied(connection, database), database):
            if migration.version == 1:
                if not connection.execute("SELECT to_regnamespace(%s)", (database.schema,)).fetchall()[0][0]:
                    connection.execute(_placed("CREATE SCHEMA :schema", database))
                connection.execute(_placed(_CREATE_APPLIED, database))
            connection.execute(_placed(migration.sql, database))
            connection.execute(
                _placed(_NOTE_APPLIED, database), (migration.version, migration.name, migration.checksum)
            )
            done.append(migration.version)
    return done


def _placed(script: str, database: PostgresDatabase) -> bytes:
    # The name was checked to be a plain one when the URL was read.
    return re.sub(r":schema\b", database.schema, script).encode()


def _missing(theirs: dict[int, str], database: PostgresDatabase) -> list[Migration]:
    ours = migrations()
    newest = ours[-1].version
    newer = [version for version in theirs if version > newest]
    if newer:
        raise QueueSchemaError(
            f"PostgreSQL {database.name} has schema version {max(newer)}; this prismq knows versions up to {newest}. "
            f"Upgrade prismq on this machine. A newer schema is never downgraded; to go back, restore a backup"
        )
    for migration in ours:
        if migration.version in theirs and theirs[migration.version] != migration.checksum:
            raise QueueSchemaError(
                f"migration {migration.version} ({migration.name}) of PostgreSQL {database.name} is not the one that "
                f"this prismq ships. The schema was made by a changed copy of prismq: restore a backup or use that copy"
            )
    return [migration for migration in ours if migration.version not in theirs]
