-- The attempts that were lost with their workers, and what the tasks' logs say of it.
WITH lost AS (
    SELECT *
      FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[], %(attempts)s::int[], %(workers)s::text[],
                  %(reserved)s::timestamptz[], %(started)s::timestamptz[], %(reasons)s::text[],
                  %(retried)s::boolean[], %(levels)s::text[], %(messages)s::text[], %(details)s::jsonb[])
           AS l (task_id, fencing_token, attempt, worker_id, reserved_at, started_at, reason, retried, level, message,
                 details)
), attempts AS (
    INSERT INTO task_attempts (task_id, fencing_token, attempt, outcome, worker_id, reserved_at_utc, started_at_utc,
                               finished_at_utc, error_type, error_message, retry_at_utc)
    SELECT task_id, fencing_token, attempt, 'lost', worker_id, reserved_at, started_at, %(now)s, %(error_type)s,
           reason, CASE WHEN retried THEN %(now)s::timestamptz END
      FROM lost
    ON CONFLICT (task_id, fencing_token) DO UPDATE
       SET attempt = excluded.attempt, outcome = excluded.outcome, worker_id = excluded.worker_id,
           reserved_at_utc = excluded.reserved_at_utc, started_at_utc = excluded.started_at_utc,
           finished_at_utc = excluded.finished_at_utc, error_type = excluded.error_type,
           error_message = excluded.error_message, traceback = NULL, retry_at_utc = excluded.retry_at_utc
)
INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT task_id, %(now)s, level, message, details, attempt FROM lost
