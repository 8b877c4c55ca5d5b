-- The next statistics that the totals do not have yet, oldest first.
DELETE FROM task_stats
 WHERE rowid IN (SELECT rowid FROM task_stats WHERE totalled = 0 ORDER BY rowid LIMIT ?1)
RETURNING rowid, slot_utc, span_s, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
