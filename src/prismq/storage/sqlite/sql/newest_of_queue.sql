SELECT priority, id FROM task_queue
 WHERE status = 'queued' AND queue = ?1 AND priority = ?5 AND run_after_utc <= ?2
 ORDER BY id DESC LIMIT ?3
