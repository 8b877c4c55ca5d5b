-- run_after: a row written by hand may be queued before its time.
SELECT priority, id FROM task_queue
 WHERE status = 'queued' AND queue = ?1 AND run_after_utc <= ?2
 ORDER BY priority, id LIMIT ?3
