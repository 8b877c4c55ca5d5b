-- SKIP LOCKED, in what `:heads` stands for: claimers pass each other instead of queueing. MATERIALIZED: a LIMIT that the
-- planner ran again inside the join would lease more than was asked for.
-- Claiming counts as an attempt, so that a task that kills its worker cannot do so for ever.
WITH picked AS MATERIALIZED (
    :heads
), claimed AS (
    UPDATE task_queue AS t
       SET status = 'claimed', attempts = t.attempts + 1, fencing_token = t.fencing_token + 1,
           revision = t.revision + 1, locked_by = %(worker)s, lease_until_utc = %(until)s, reserved_at_utc = %(now)s,
           updated_at_utc = %(now)s, processing_started_utc = NULL, progress = NULL
      FROM picked
     WHERE t.id = picked.id
    RETURNING t.id, t.fencing_token, t.revision, t.type, t.queue, t.priority, t.payload, t.attempts, t.max_attempts,
              extract(epoch FROM t.run_after_utc)::float8, t.timeout_seconds, t.backoff, t.retention_seconds, t.crashes,
              t.headers, t.schedule, t.idempotency_key
), booked AS (
    INSERT INTO queue_depth_deltas (queue, type, status, band, tasks)
    SELECT queue, type, status, prismq_band(priority), sum(step * tasks)
      FROM (SELECT queue, type, priority, count(*) AS tasks FROM claimed GROUP BY 1, 2, 3) AS alike,
           (VALUES ('queued', -1), ('claimed', 1)) AS side (status, step)
     GROUP BY 1, 2, 3, 4
)
SELECT * FROM claimed
