"""What goes wrong with a PostgreSQL database in practice, and how to see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.finding import Check, Finding, Severity
from prismq.storage.findings import payloads_check, writable
from prismq.storage.postgres import maintenance
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.queries import query

_DEAD_ROWS = query("dead_rows")
_PINNED = query("pinned_snapshots")
_NOT_OBJECTS = query("not_objects")
_SETTINGS = "SELECT current_setting('autovacuum'), current_setting('synchronous_commit'), current_setting('fsync')"
_CONNECTIONS = (
    "SELECT count(*), current_setting('max_connections')::int "
    "FROM pg_stat_activity WHERE backend_type = 'client backend'"
)
# Fewer cost nothing to speak of; a queue that is worked on always has some.
DEAD_ROWS_MIN = 100_000
DEAD_SHARE = 0.5  # of the live ones
SNAPSHOT_AGE_S = 300.0
CONNECTIONS_SHARE = 0.9
PAYLOADS_MAX = 200_000  # waiting tasks of each kind that are looked at
_LOCKED = "See who holds the lock: SELECT pid, query FROM pg_stat_activity, pg_blocking_pids(); end that session."


def checks_of(database: PostgresDatabase) -> Sequence[Check]:
    """Every check of the database; most for the state it is in, the last for its indexes."""
    return (
        Check(
            "writable", "a standby, a lock, a full disk, missing rights", "",
            lambda now: writable(lambda: _write(database), lambda: _LOCKED),
        ),
        Check(
            "pooler", "a pooler in transaction mode, behind which LISTEN hears nothing", "",
            lambda now: _pooler(database),
        ),
        Check("dead-rows", "dead rows that vacuum did not remove", "vacuums", lambda now: _dead_rows(database)),
        Check(
            "snapshots", "sessions, replication slots and prepared transactions that hold on to an old state", "",
            lambda now: _snapshots(database),
        ),
        Check(
            "server", "autovacuum or fsync switched off; commits that are not waited for; connections used up", "",
            lambda now: _server(database),
        ),
        payloads_check(lambda: _unreadable(database)),
        Check("integrity", "indexes that are damaged or were not built to the end", "", lambda now: _whole(database)),
    )  # fmt: skip


def _write(database: PostgresDatabase) -> None:
    with database.transaction() as connection:
        connection.execute("LOCK TABLE task_queue IN ROW EXCLUSIVE MODE")


def _unreadable(database: PostgresDatabase) -> list[int]:
    with database.reading() as connection:
        return [task_id for (task_id,) in connection.execute(_NOT_OBJECTS, {"limit": PAYLOADS_MAX}).fetchall()]


def _pooler(database: PostgresDatabase) -> Iterator[Finding]:
    with database.reading():
        if database.behind_pooler:
            yield Finding(
                "pooler", Severity.NOTE,
                "the URL leads to a pooler that gives each transaction another session (PgBouncer, transaction mode)",
                "All works, but statements are not prepared, and workers learn of new tasks by polling alone.",
                "Give workers a URL that leads past the pooler, or set redis_url.",
            )  # fmt: skip


def _dead_rows(database: PostgresDatabase) -> Iterator[Finding]:
    with database.reading() as connection:
        rows = connection.execute(_DEAD_ROWS, (database.schema, DEAD_ROWS_MIN, DEAD_SHARE)).fetchall()

    def mend() -> str:
        maintenance.vacuum(database)
        return "vacuumed"

    for table, live, dead, size, last in rows:
        yield Finding(
            "dead-rows", Severity.WARNING,
            f"{table} has {dead:,} dead rows beside {live:,} live ones ({size / 1e6:,.0f} MB; last vacuum: {last})",
            "Claims step over them, and the table grows.",
            "See that autovacuum runs and nothing holds it back (check `snapshots`); `prismq maintenance vacuum` helps "
            "at once.",
            mend,
        )  # fmt: skip


def _snapshots(database: PostgresDatabase) -> Iterator[Finding]:
    with database.reading() as connection:
        rows = connection.execute(_PINNED, {"age_s": SNAPSHOT_AGE_S}).fetchall()
    for who, age_s, state in rows:
        since = "" if age_s is None else f" for {age_s / 60:,.0f} minutes"
        yield Finding(
            "snapshots", Severity.WARNING,
            f"{who} ({state}) holds on to an old state of the database{since}",
            "Vacuum cannot remove what died since, so claims become slower the longer it lasts.",
            "End it: commit or roll back in that program, pg_terminate_backend(pid), or drop a slot that nobody needs.",
        )  # fmt: skip


def _server(database: PostgresDatabase) -> Iterator[Finding]:
    with database.reading() as connection:
        [(autovacuum, synchronous, fsync)] = connection.execute(_SETTINGS).fetchall()
        [(used, most)] = connection.execute(_CONNECTIONS).fetchall()
    if autovacuum == "off":
        yield Finding(
            "server", Severity.WARNING, "autovacuum is off",
            "Dead rows stay for ever, and statistics grow stale: claims become slower day by day.",
            "Set autovacuum = on in postgresql.conf and reload.",
        )  # fmt: skip
    if fsync == "off" or synchronous == "off":
        name = "fsync" if fsync == "off" else "synchronous_commit"
        yield Finding(
            "server", Severity.WARNING, f"{name} is off",
            "A task that was acknowledged may be gone after a crash of the server"
            + (", and the database may be damaged." if fsync == "off" else "."),
            f"Set {name} = on, unless such losses are meant to be possible.",
        )  # fmt: skip
    if used >= CONNECTIONS_SHARE * most:
        yield Finding(
            "server", Severity.WARNING, f"{used} of the server's {most} connections are in use",
            "The next worker or program may not get one.",
            "Lower pool_size in the URLs, use a pooler, or raise max_connections.",
        )  # fmt: skip


def _whole(database: PostgresDatabase) -> Iterator[Finding]:
    try:
        damage = maintenance.integrity_check(database, thorough=False)
    except (QueueDatabaseError, psycopg.Error) as error:
        damage = [str(error)]
    if damage != ["ok"]:
        yield Finding(
            "integrity", Severity.PROBLEM, f"the database is damaged: {'; '.join(damage[:3])}",
            "Lookups by that index may miss tasks.",
            "REINDEX the index. If tables are damaged, too, restore a backup into a new database, and find out why: a "
            "disk, a crash with fsync off, a copy of a running server's files.",
        )  # fmt: skip
