-- run_after: a row written by hand may be queued before its time.
SELECT id, run_after_utc FROM task_queue
 WHERE status = 'queued' AND queue = ?1 AND route = ?2 AND run_after_utc <= ?3
 ORDER BY priority, id LIMIT 1
