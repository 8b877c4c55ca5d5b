-- Without bins, which only Python can merge, a day comes as a few rows.
-- One statement, one moment: folding moves rows from table to table, and drops hours.
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
SELECT queue, type, outcome, sum(tasks)::bigint, sum(attempts)::bigint, sum(retried)::bigint, sum(wait_s), sum(run_s),
       NULL, NULL
  FROM (
        SELECT slots.* FROM stretches, LATERAL (
            SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s
              FROM task_stats
             WHERE span_s = span AND slot_utc >= low AND slot_utc < high
               AND (%(only)s::text[] IS NULL OR outcome = ANY (%(only)s))
               AND (%(queues)s::text[] IS NULL OR queue = ANY (%(queues)s))
            OFFSET 0) AS slots  -- each stretch by the key, whatever the planner thinks of their number
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
 WHERE (%(only)s::text[] IS NULL OR outcome = ANY (%(only)s))
   AND (%(queues)s::text[] IS NULL OR queue = ANY (%(queues)s))
 GROUP BY queue, type, outcome
