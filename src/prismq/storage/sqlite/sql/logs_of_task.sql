SELECT log_id, task_id, at_utc, level, message, details, attempt FROM task_logs
 WHERE task_id = ?1 AND (?2 IS NULL OR level = ?2)
 ORDER BY at_utc DESC, log_id DESC LIMIT ?3
