-- Both in one statement: a reader sees the hours and how far they go, or neither.
WITH gone AS (DELETE FROM task_hours WHERE slot_utc < %(before)s RETURNING 1),
     noted AS (UPDATE books SET hours_from = greatest(hours_from, %(before)s) WHERE EXISTS (SELECT 1 FROM gone))
SELECT count(*) FROM gone
