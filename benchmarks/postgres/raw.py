"""The yardstick: psycopg on the same table and indexes, without the triggers that keep the books; no logs."""

from __future__ import annotations

from typing import Any

import psycopg

from prismq.storage.postgres.database import PostgresDatabase

Connection = psycopg.Connection[tuple[Any, ...]]

# A revision of 1 is what our own rows begin with, so that no trigger takes them for somebody else's.
INSERT = "INSERT INTO task_queue (type, payload, revision) VALUES (%s, %s, 1)"
COPY = "COPY task_queue (type, payload, revision) FROM STDIN"
CLAIM = """WITH picked AS MATERIALIZED (
    SELECT id FROM task_queue
     WHERE status = 'queued' AND revision >= 0 AND queue = 'default'
     ORDER BY priority, id LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE task_queue AS t
   SET status = 'claimed', attempts = attempts + 1, locked_by = 'raw', reserved_at_utc = now(),
       lease_until_utc = now() + interval '60 s', revision = revision + 1
  FROM picked WHERE t.id = picked.id
RETURNING t.id, t.type, t.payload"""
COMPLETE = """UPDATE task_queue
   SET status = 'completed', finished_at_utc = now(), lease_until_utc = NULL, revision = revision + 1
 WHERE id = ANY (%s)"""


def connect(url: str) -> Connection:
    """A database with our schema, without its triggers."""
    database = PostgresDatabase(url)
    database.initialize_schema()
    schema = database.schema
    database.close()
    connection = psycopg.connect(url, options=f"-c search_path={schema}")
    for (name,) in connection.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'task_queue'::regclass AND NOT tgisinternal"
    ).fetchall():
        connection.execute(f"DROP TRIGGER {name} ON task_queue")
    connection.commit()
    connection.prepare_threshold = 2
    return connection


def copy(connection: Connection, n: int) -> None:
    """`n` rows by COPY, one commit."""
    with connection.cursor() as cursor, cursor.copy(COPY) as rows:
        for i in range(n):
            rows.write_row(("noop", f'{{"n":{i}}}', 1))
    connection.commit()


def settle_down(connection: Connection) -> None:
    """Leave nothing to be done later that another's sample would pay for."""
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")
    connection.autocommit = False


def drain(connection: Connection, batch: int) -> int:
    """Claim and complete in batches, two transactions each; how many."""
    done = 0
    while True:
        rows = connection.execute(CLAIM, (batch,)).fetchall()
        connection.commit()
        if not rows:
            return done
        connection.execute(COMPLETE, ([row[0] for row in rows],))
        connection.commit()
        done += len(rows)
