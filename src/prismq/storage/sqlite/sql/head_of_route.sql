SELECT priority, id FROM task_queue
 WHERE status = 'queued' AND queue = ?1 AND route = ?4 AND run_after_utc <= ?2
 ORDER BY priority, id LIMIT ?3
