SELECT id FROM task_queue WHERE idempotency_key = ?
