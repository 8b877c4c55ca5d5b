-- Without bins, which only Python can merge, a day comes as a few rows.
-- One statement, one moment: folding moves rows from table to table, and drops hours.
-- Of the hours, those that lie in the window as a whole, and which task_hours has; the slots before and after them.
-- Where nothing came after the window's end, its last hour counts as a whole.
WITH ends AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT 1 FROM task_stats WHERE span_s = 60 AND slot_utc >= %(end)s)
                  OR EXISTS (SELECT 1 FROM task_stats WHERE span_s = 600 AND slot_utc >= %(end)s)
                THEN %(last)s::timestamptz ELSE %(hour_after)s END AS last_hour),
hours AS MATERIALIZED (
    SELECT least(greatest(%(first)s::timestamptz, hours_from), last_hour) AS first_hour, last_hour FROM books, ends)
SELECT queue, type, outcome, sum(tasks)::bigint, sum(attempts)::bigint, sum(retried)::bigint, sum(wait_s), sum(run_s),
       NULL, NULL
  FROM (
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 60 AND slot_utc >= %(since_60)s
           AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 60 AND slot_utc >= greatest(%(since_60)s, (SELECT last_hour FROM hours))
           AND slot_utc < %(end)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 600 AND slot_utc >= %(since_600)s
           AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 600 AND slot_utc >= greatest(%(since_600)s, (SELECT last_hour FROM hours))
           AND slot_utc < %(end)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 3600 AND slot_utc >= %(since_3600)s
           AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 3600 AND slot_utc >= greatest(%(since_3600)s, (SELECT last_hour FROM hours))
           AND slot_utc < %(end)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 86400 AND slot_utc >= %(since_86400)s
           AND slot_utc < least(%(end)s, (SELECT first_hour FROM hours))
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 86400 AND slot_utc >= greatest(%(since_86400)s, (SELECT last_hour FROM hours))
           AND slot_utc < %(end)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_hours
         WHERE slot_utc >= (SELECT first_hour FROM hours) AND slot_utc < (SELECT last_hour FROM hours)
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats_deltas
         WHERE slot_utc >= %(since_60)s AND slot_utc < %(end)s
        UNION ALL
        SELECT queue, type, 'enqueued', tasks, 0, 0, 0, 0
          FROM queue_depth_deltas
         WHERE slot_utc >= %(since_60)s AND slot_utc < %(end)s) AS ended
 WHERE %(only)s::text IS NULL OR outcome = %(only)s
 GROUP BY queue, type, outcome
