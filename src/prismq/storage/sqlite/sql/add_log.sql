INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt) VALUES (?, ?, ?, ?, ?, ?)
