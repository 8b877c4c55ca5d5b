INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM task_queue WHERE id = ?1)
