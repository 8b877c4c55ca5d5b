SELECT (SELECT min(log_id) FROM task_logs), (SELECT max(log_id) FROM task_logs)
