INSERT OR REPLACE INTO task_attempts (task_id, fencing_token, attempt, outcome, worker_id, reserved_at_utc,
                                      started_at_utc, finished_at_utc, error_type, error_message, traceback,
                                      retry_at_utc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
