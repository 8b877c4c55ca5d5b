-- One statement is one transaction. A key that exists writes nothing: the store then looks the task up.
INSERT INTO task_queue (type, queue, priority, payload, compatibility, status, max_attempts, run_after_utc,
                        idempotency_key, created_at_utc, updated_at_utc, tags, timeout_seconds, backoff,
                        retention_seconds, headers, schedule)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
