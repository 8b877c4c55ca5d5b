INSERT INTO task_totals (queue, type, outcome, tasks, attempts, retried, wait_us, run_us, wait_bins, run_bins)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (queue, type, outcome) DO UPDATE
   SET tasks = tasks + excluded.tasks, attempts = attempts + excluded.attempts,
       retried = retried + excluded.retried, wait_us = wait_us + excluded.wait_us, run_us = run_us + excluded.run_us,
       wait_bins = prismq_merge_bins(wait_bins, excluded.wait_bins),
       run_bins = prismq_merge_bins(run_bins, excluded.run_bins)
