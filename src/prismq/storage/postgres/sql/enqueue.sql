-- One statement is one transaction: the task, and what the books say of it.
WITH booked AS (
    INSERT INTO queue_depth_deltas (queue, type, status, band, tasks, slot_utc)
    VALUES (%(queue)s, %(type)s, %(status)s, %(band)s, 1, date_trunc('minute', %(now)s::timestamptz))
)
INSERT INTO task_queue (type, queue, priority, payload, compatibility, status, max_attempts, run_after_utc,
                        created_at_utc, updated_at_utc, tags, timeout_seconds, backoff, retention_seconds, headers,
                        schedule, revision)
VALUES (%(type)s, %(queue)s, %(priority)s, %(payload)s, %(compatibility)s, %(status)s, %(max_attempts)s, %(run_after)s,
        %(now)s, %(now)s, %(tags)s, %(timeout_s)s, %(backoff)s, %(retention_s)s, %(headers)s, %(schedule)s, 1)
RETURNING id, true
