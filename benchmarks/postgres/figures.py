"""The ten million tasks of benchmarks/figures.py, in a PostgreSQL database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import figures
from benchmarks.harness import progress
from prismq.domain.times import from_epoch, text_to_epoch
from prismq.storage.entries import HOURS_KEPT_S
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.folding import Sums
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
_HOURS = """
COPY task_hours (slot_utc, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins)
FROM STDIN"""
_TOTALS = """
INSERT INTO task_totals (queue, type, outcome, tasks, attempts, retried, wait_us, run_us, wait_bins, run_bins)
SELECT queue, type, outcome, sum(tasks), sum(attempts), sum(retried), sum(wait_s) * 1e6, sum(run_s) * 1e6,
       max(wait_bins::text)::jsonb, max(run_bins::text)::jsonb
  FROM task_stats GROUP BY 1, 2, 3"""
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
        stats = [row for row in figures.stats_of(now, days) if row[5]]
        with connection.cursor().copy(_STATS) as copy:
            for row in stats:
                copy.write_row((f"{row[0]}+00", *row[1:]))
        hours = _hours_of(stats, now)
        with connection.cursor().copy(_HOURS) as copy:
            for row in hours:
                copy.write_row(row)
        connection.execute("UPDATE books SET hours_from = %s", (min(row[0] for row in hours),))
        connection.execute(_TOTALS)
        connection.execute("VACUUM ANALYZE")
    while store.upkeep.fold(time.time()):
        continue
    store.close()


def _hours_of(stats: Iterable[Sequence[Any]], now: float) -> list[tuple[Any, ...]]:
    """What folding would have added to task_hours."""
    sums: dict[tuple[float, str, str, str], Sums] = {}
    for slot, _, queue, type_, outcome, *row in stats:
        at = text_to_epoch(slot)
        if at - at % 3600 >= now - HOURS_KEPT_S:
            sums.setdefault((at - at % 3600, queue, type_, outcome), Sums()).add(tuple(row))
    return [(from_epoch(hour), *key, *one.row()) for (hour, *key), one in sums.items()]
