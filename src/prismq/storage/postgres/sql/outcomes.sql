-- One statement, one moment: folding moves rows from table to table, and drops hours. The first column
-- tells which have been folded.
-- Of the hours, those that lie in the window as a whole, and which task_hours has; the slots before and after them.
-- Where nothing came after the window's end, its last hour counts as a whole.
WITH ends AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT 1 FROM task_stats WHERE span_s = 60 AND slot_utc >= %(end)s)
                  OR EXISTS (SELECT 1 FROM task_stats WHERE span_s = 600 AND slot_utc >= %(end)s)
                THEN %(last)s::timestamptz ELSE %(hour_after)s END AS last_hour),
hours AS MATERIALIZED (
    SELECT least(greatest(%(first)s::timestamptz, hours_from), last_hour) AS first_hour, last_hour FROM books, ends)
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 60 AND slot_utc >= %(since_60)s
   AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 60 AND slot_utc >= greatest(%(since_60)s, (SELECT last_hour FROM hours))
   AND slot_utc < %(end)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 600 AND slot_utc >= %(since_600)s
   AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 600 AND slot_utc >= greatest(%(since_600)s, (SELECT last_hour FROM hours))
   AND slot_utc < %(end)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 3600 AND slot_utc >= %(since_3600)s
   AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 3600 AND slot_utc >= greatest(%(since_3600)s, (SELECT last_hour FROM hours))
   AND slot_utc < %(end)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 86400 AND slot_utc >= %(since_86400)s
   AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 86400 AND slot_utc >= greatest(%(since_86400)s, (SELECT last_hour FROM hours))
   AND slot_utc < %(end)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_hours
 WHERE slot_utc >= (SELECT first_hour FROM hours) AND slot_utc < (SELECT last_hour FROM hours)
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT false, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats_deltas
 WHERE slot_utc >= %(since_60)s AND slot_utc < %(end)s AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT false, queue, type, 'enqueued', sum(tasks)::bigint, 0, 0, 0, 0, NULL, NULL
  FROM queue_depth_deltas
 WHERE slot_utc >= %(since_60)s AND slot_utc < %(end)s AND (%(only)s::text IS NULL OR %(only)s = 'enqueued')
 GROUP BY queue, type
