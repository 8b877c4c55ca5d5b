"""What a look costs does not depend on how many tasks there are. Counted in SQLite's own steps, not in seconds."""

from __future__ import annotations

import time
from pathlib import Path

from prismq import PrismQ
from prismq.cli.top.looking import FAILURES_MAX, Lookout
from prismq.testing import ManualClock

_ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO task_queue (type, payload, queue, status, attempts, revision, finished_at_utc)
SELECT 'job', '{{}}', 'q' || (i % 3), 'completed', 1, 1, strftime('%Y-%m-%d %H:%M:%f', 'now', -i || ' seconds') FROM n
"""
_FAILED = "UPDATE task_queue SET status = 'failed' WHERE id <= 5"


def steps_of_a_look(path: Path, count: int) -> int:
    """Of the second look: the first fills what is remembered, by the clock; hence one that no slow machine moves on."""
    clock = ManualClock(time.time() // 60 * 60 + 58)  # the next look falls into the same minute
    with PrismQ(path, clock=clock) as q:
        database = q.store.database
        database.execute(_ROWS.format(count=count))
        database.execute(_FAILED)
        while q.store.upkeep.book(q.clock.now()):
            pass
        lookout, steps = Lookout(q), 0
        assert len(lookout.look().failures) == 5 < FAILURES_MAX

        def count_one() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection = database.get_connection()
        clock.advance(0.1)
        connection.set_progress_handler(count_one, 1)
        lookout.look()
        connection.set_progress_handler(None, 1)
    return steps


def test_a_look_costs_the_same_at_any_length_of_the_history(tmp_path: Path) -> None:
    few, many = steps_of_a_look(tmp_path / "few.db", 2_000), steps_of_a_look(tmp_path / "many.db", 40_000)

    assert 0 < many <= 1.2 * few + 500, (few, many)
