SELECT idempotency_key, id FROM task_queue WHERE idempotency_key = ANY (%s::text[])
