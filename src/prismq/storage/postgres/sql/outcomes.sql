-- One statement, one moment: folding moves rows from table to table, and drops hours. The first column
-- tells which have been folded.
-- Of the hours, those that lie in the window as a whole, and which task_hours has; the slots before and after them.
-- Where nothing came after the window's end, its last hour counts as a whole.
WITH ends AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT 1 FROM task_stats WHERE span_s = 60 AND slot_utc >= %(end)s)
                  OR EXISTS (SELECT 1 FROM task_stats WHERE span_s = 600 AND slot_utc >= %(end)s)
                THEN %(last)s::timestamptz ELSE %(hour_after)s END AS last_hour),
hours AS MATERIALIZED (
    SELECT least(greatest(%(first)s::timestamptz, hours_from), last_hour) AS first_hour, last_hour FROM books, ends),
begins (span, since) AS (
    VALUES (60, %(since_60)s::timestamptz), (600, %(since_600)s), (3600, %(since_3600)s), (86400, %(since_86400)s)),
stretches AS MATERIALIZED (
    SELECT span, since AS low, least(%(end)s, first_hour) AS high FROM begins, hours
    UNION ALL
    SELECT span, greatest(since, last_hour), %(end)s FROM begins, hours)
SELECT true, slots.* FROM stretches, LATERAL (
    SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
       CASE WHEN %(waits)s THEN wait_bins END, run_bins
      FROM task_stats
     WHERE span_s = span AND slot_utc >= low AND slot_utc < high
       AND (%(only)s::text[] IS NULL OR outcome = ANY (%(only)s))
       AND (%(queues)s::text[] IS NULL OR queue = ANY (%(queues)s))
    OFFSET 0) AS slots  -- each stretch by the key, whatever the planner thinks of their number
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
       CASE WHEN %(waits)s THEN wait_bins END, run_bins
  FROM task_hours
 WHERE slot_utc >= (SELECT first_hour FROM hours) AND slot_utc < (SELECT last_hour FROM hours)
   AND (%(only)s::text[] IS NULL OR outcome = ANY (%(only)s))
   AND (%(queues)s::text[] IS NULL OR queue = ANY (%(queues)s))
UNION ALL
SELECT false, queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
       CASE WHEN %(waits)s THEN wait_bins END, run_bins
  FROM task_stats_deltas
 WHERE slot_utc >= %(since_60)s AND slot_utc < %(end)s
   AND (%(only)s::text[] IS NULL OR outcome = ANY (%(only)s))
   AND (%(queues)s::text[] IS NULL OR queue = ANY (%(queues)s))
UNION ALL
SELECT false, queue, type, 'enqueued', sum(tasks)::bigint, 0, 0, 0, 0, NULL, NULL
  FROM queue_depth_deltas
 WHERE slot_utc >= %(since_60)s AND slot_utc < %(end)s
   AND (%(only)s::text[] IS NULL OR 'enqueued' = ANY (%(only)s))
   AND (%(queues)s::text[] IS NULL OR queue = ANY (%(queues)s))
 GROUP BY queue, type
