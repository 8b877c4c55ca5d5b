DELETE FROM task_stats_deltas
 WHERE ctid = ANY (ARRAY (SELECT ctid FROM task_stats_deltas LIMIT %(limit)s))
RETURNING extract(epoch FROM slot_utc)::float8, queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
          wait_bins, run_bins
