"""Numbered migrations: applied in order, under the writer's lock, checked against what was applied before."""

from __future__ import annotations

import sqlite3

from prismq.domain.errors import QueueSchemaError
from prismq.storage.migrations import Migration, load_migrations
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.pragmas import APPLICATION_ID


def migrations() -> list[Migration]:
    """Every migration of this version, in order."""
    return load_migrations("prismq.storage.sqlite")


def applied(database: QueueDatabase) -> dict[int, str]:
    """Version -> checksum of what this file has; empty for a new file.

    Raises QueueSchemaError where the file holds tables of another program and may not be adopted.
    """
    with translated(str(database.db_path)):
        connection = database.get_connection()
        # One statement, one moment: another process may be creating the tables just now.
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        names = [name for (name,) in found]
        # Both: other programs, too, keep their migrations in a table of this name.
        if "schema_migrations" in names and "task_queue" in names:
            return dict(connection.execute("SELECT version, checksum FROM schema_migrations").fetchall())
    return {}


def pending(database: QueueDatabase) -> list[int]:
    """The versions that this file lacks. Raises QueueSchemaError where it must not be touched."""
    return [migration.version for migration in _missing(database)]


def migrate(database: QueueDatabase) -> list[int]:
    """Apply what is missing; the versions applied. Of several processes at once, one does it."""
    if not _missing(database):
        return []
    done: list[int] = []
    with database.transaction() as connection:
        for migration in _missing(database):
            if migration.version == 1:
                connection.execute(
                    "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
                    " checksum TEXT NOT NULL, applied_at_utc TEXT NOT NULL"
                    " DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')))"
                )
                if not database.adopt:
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for statement in statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (?, ?, ?)",
                (migration.version, migration.name, migration.checksum),
            )
            done.append(migration.version)
    return done


def statements(script: str) -> list[str]:
    """The statements of a script; executescript would commit the transaction they must share."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    if current.strip() and not all(line.lstrip().startswith("--") or not line.strip() for line in current.splitlines()):
        found.append(current.strip())
    return found


def _missing(database: QueueDatabase) -> list[Migration]:
    ours = migrations()
    theirs = applied(database)
    newest = ours[-1].version
    newer = [version for version in theirs if version > newest]
    if newer:
        raise QueueSchemaError(
            f"{database.db_path} has schema version {max(newer)}; this prismq knows versions up to {newest}. "
            f"Upgrade prismq on this machine. A newer schema is never downgraded; to go back, restore a backup"
        )
    for migration in ours:
        if migration.version in theirs and theirs[migration.version] != migration.checksum:
            raise QueueSchemaError(
                f"migration {migration.version} ({migration.name}) of {database.db_path} is not the one that this "
                f"prismq ships. The file was made by a changed copy of prismq: restore a backup or use that copy"
            )
    return [migration for migration in ours if migration.version not in theirs]
