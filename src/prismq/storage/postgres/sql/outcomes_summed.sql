-- Without bins, which only Python can merge, a day comes as a few rows. One statement, one moment.
SELECT queue, type, outcome, sum(tasks)::bigint, sum(attempts)::bigint, sum(retried)::bigint, sum(wait_s), sum(run_s),
       NULL, NULL
  FROM (
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 60 AND slot_utc >= %(since_60)s AND slot_utc <= %(until)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 600 AND slot_utc >= %(since_600)s AND slot_utc <= %(until)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats
         WHERE span_s = 3600 AND slot_utc >= %(since_3600)s AND slot_utc <= %(until)s
        UNION ALL
        SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
          FROM task_stats_deltas
         WHERE slot_utc >= %(since_60)s AND slot_utc <= %(until)s
        UNION ALL
        SELECT queue, type, 'enqueued', tasks, 0, 0, 0, 0
          FROM queue_depth_deltas
         WHERE slot_utc >= %(since_60)s AND slot_utc <= %(until)s) AS ended
 WHERE %(only)s::text IS NULL OR outcome = %(only)s
 GROUP BY queue, type, outcome
