-- The same with an idempotency key. One that exists writes nothing and gives the task that has it. No row at all: that
-- task came, or went, while this ran; ask again.
WITH new AS (
    INSERT INTO task_queue (type, queue, priority, payload, compatibility, status, max_attempts, run_after_utc,
                            idempotency_key, created_at_utc, updated_at_utc, tags, timeout_seconds, backoff,
                            retention_seconds, headers, schedule, revision)
    VALUES (%(type)s, %(queue)s, %(priority)s, %(payload)s, %(compatibility)s, %(status)s, %(max_attempts)s,
            %(run_after)s, %(key)s, %(now)s, %(now)s, %(tags)s, %(timeout_s)s, %(backoff)s, %(retention_s)s,
            %(headers)s, %(schedule)s, 1)
    ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id
), booked AS (
    INSERT INTO queue_depth_deltas (queue, type, status, band, tasks, slot_utc)
    SELECT %(queue)s, %(type)s, %(status)s, %(band)s, 1, date_trunc('minute', %(now)s::timestamptz) FROM new
)
SELECT id, true FROM new
UNION ALL
SELECT id, false FROM task_queue WHERE idempotency_key = %(key)s::text
