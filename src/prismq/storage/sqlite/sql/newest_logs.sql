SELECT log_id, task_id, at_utc, level, message, details, attempt FROM task_logs
 ORDER BY log_id DESC LIMIT ?1
