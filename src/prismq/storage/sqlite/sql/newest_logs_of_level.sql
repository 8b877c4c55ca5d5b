-- The second condition is the index's own, and only then is the index used.
SELECT log_id, task_id, at_utc, level, message, details, attempt FROM task_logs
 WHERE level = ?1 AND level <> 'DEBUG'
 ORDER BY log_id DESC LIMIT ?2
