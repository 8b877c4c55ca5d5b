SELECT queue, type, outcome, tasks, attempts, retried, wait_us / 1e6, run_us / 1e6, wait_bins, run_bins
  FROM task_totals
 ORDER BY total_id
