DELETE FROM task_logs WHERE log_id IN (SELECT value FROM json_each(?1)) AND at_utc < ?2
