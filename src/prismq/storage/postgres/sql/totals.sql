-- One statement, one moment: folding moves rows into the totals. Microseconds as they will be added there.
SELECT total_id, queue, type, outcome, tasks, attempts, retried, wait_us, run_us, wait_bins, run_bins
  FROM task_totals
UNION ALL
SELECT NULL, queue, type, outcome, tasks, attempts, retried, round(wait_s * 1e6)::bigint, round(run_s * 1e6)::bigint,
       wait_bins, run_bins
  FROM task_stats_deltas
UNION ALL
SELECT NULL, queue, type, 'enqueued', sum(tasks)::bigint, 0, 0, 0, 0, NULL, NULL
  FROM queue_depth_deltas
 WHERE slot_utc IS NOT NULL
 GROUP BY queue, type
 ORDER BY 1 NULLS LAST, 2, 3, 4
