INSERT INTO task_hours (slot_utc, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (slot_utc, queue, type, outcome) DO UPDATE
   SET tasks = tasks + excluded.tasks, attempts = attempts + excluded.attempts,
       retried = retried + excluded.retried, wait_s = wait_s + excluded.wait_s, run_s = run_s + excluded.run_s,
       wait_bins = prismq_merge_bins(wait_bins, excluded.wait_bins),
       run_bins = prismq_merge_bins(run_bins, excluded.run_bins)
