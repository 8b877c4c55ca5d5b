"""The ten million tasks of benchmarks/figures.py, in a PostgreSQL database."""

from __future__ import annotations

import time

from benchmarks import figures
from benchmarks.harness import progress
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore

_ROWS = """
INSERT INTO task_queue (type, queue, payload, priority, status, attempts, revision, run_after_utc, created_at_utc,
                        updated_at_utc, reserved_at_utc, processing_started_utc, finished_at_utc, locked_by,
                        error_message)
SELECT 'type-' || (i %% %(types)s), 'queue-' || (i %% %(types)s %% %(queues)s),
       jsonb_build_object('n', i, 'path', '/data/' || i || '.bin'), 100, status, 1, 1, at, at, at,
       CASE WHEN ended THEN at END, CASE WHEN ended THEN at END,
       CASE WHEN ended THEN at + (i %% 5000) * interval '1 millisecond' END, CASE WHEN ended THEN 'worker-1' END,
       CASE WHEN status IN ('failed', 'dead_letter') THEN 'ValueError: it broke' END
  FROM (SELECT i, at, status, status <> 'queued' AND status <> 'scheduled' AS ended
          FROM (SELECT i, to_timestamp(%(now)s - (%(tasks)s - i) * %(apart_s)s) AS at,
                       CASE WHEN i > %(tasks)s - %(queued)s THEN 'queued' WHEN i %% 1000 = 1 THEN 'dead_letter'
                            WHEN i %% 1000 = 2 THEN 'cancelled' WHEN i %% 1000 = 3 THEN 'scheduled'
                            WHEN i %% 1000 BETWEEN 4 AND 3 + %(failed)s THEN 'failed' ELSE 'completed' END AS status
                  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS numbered) AS said"""
_DEPTH = """
INSERT INTO queue_depth
SELECT queue, type, status, 'normal', count(*) FROM task_queue GROUP BY 1, 2, 3"""
_STATS = """
COPY task_stats (slot_utc, span_s, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins)
FROM STDIN"""
_CHUNK = 1_000_000


def build(url: str, tasks: int, queued: int, days: float, failed: int = 1) -> None:
    """As benchmarks.figures.build, in the database at `url`."""
    store = PostgresStore(PostgresDatabase(f"{url}?options=-c%20synchronous_commit%3Doff"))
    store.initialise()
    now = time.time()
    with store.database.alone() as connection:
        connection.execute("SET statement_timeout = 0")
        for first in range(1, tasks + 1, _CHUNK):
            progress(f"{first - 1:,} of {tasks:,} tasks")
            connection.execute(
                _ROWS,
                {
                    "first": first, "last": min(tasks, first + _CHUNK - 1), "tasks": tasks, "queued": queued,
                    "now": now, "types": figures.TYPES, "queues": figures.QUEUES,
                    "apart_s": 60 / (figures.PER_MINUTE * figures.TYPES), "failed": failed,
                },
            )  # fmt: skip
        progress("the books")
        connection.execute("DELETE FROM queue_depth_deltas")
        connection.execute(_DEPTH)
        with connection.cursor().copy(_STATS) as copy:
            for row in figures.stats_of(now, days):
                copy.write_row((f"{row[0]}+00", *row[1:]))
        connection.execute("DELETE FROM task_stats WHERE tasks = 0")
        connection.execute("VACUUM ANALYZE")
    while store.upkeep.fold(time.time()):
        continue
    store.close()
