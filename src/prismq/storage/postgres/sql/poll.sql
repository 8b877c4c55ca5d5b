-- All that an idle worker asks. The first in the order of an index, not EXISTS: where statistics say that much is ready,
-- or due, PostgreSQL would go through the table for it.
SELECT (SELECT true FROM task_queue WHERE status = 'queued' ORDER BY queue, route LIMIT 1),
       (SELECT run_after_utc FROM task_queue WHERE status = 'scheduled' ORDER BY run_after_utc LIMIT 1)
