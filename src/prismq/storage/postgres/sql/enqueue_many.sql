-- In the order given: the ids are drawn after the sort.
WITH new AS (
    INSERT INTO task_queue (type, queue, priority, payload, compatibility, status, max_attempts, run_after_utc,
                            idempotency_key, created_at_utc, updated_at_utc, tags, timeout_seconds, backoff,
                            retention_seconds, headers, schedule, revision)
    SELECT type, queue, priority, payload::jsonb, compatibility::jsonb, status, max_attempts, run_after, key,
           %(now)s, %(now)s, tags::jsonb, timeout_s, backoff::jsonb, retention_s, headers::jsonb, schedule, 1
      FROM unnest(%(type)s::text[], %(queue)s::text[], %(priority)s::int[], %(payload)s::text[],
                  %(compatibility)s::text[], %(status)s::text[], %(max_attempts)s::int[],
                  %(run_after)s::timestamptz[], %(key)s::text[], %(tags)s::text[], %(timeout_s)s::float8[],
                  %(backoff)s::text[], %(retention_s)s::float8[], %(headers)s::text[], %(schedule)s::text[])
           WITH ORDINALITY AS given (type, queue, priority, payload, compatibility, status, max_attempts, run_after,
                                     key, tags, timeout_s, backoff, retention_s, headers, schedule, number)
     ORDER BY number
    ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, idempotency_key, queue, type, status, priority
), booked AS (
    INSERT INTO queue_depth_deltas (queue, type, status, band, tasks, slot_utc)
    SELECT queue, type, status, prismq_band(priority), count(*), date_trunc('minute', %(now)s::timestamptz)
      FROM new
     GROUP BY 1, 2, 3, 4
)
SELECT id, idempotency_key FROM new ORDER BY id
