SELECT at_utc FROM task_logs WHERE log_id >= ? ORDER BY log_id LIMIT 1
