SELECT priority, id FROM task_queue
 WHERE status = 'queued' AND queue = ?1 AND route = ?4 AND priority = ?5 AND run_after_utc <= ?2
 ORDER BY id LIMIT ?3
