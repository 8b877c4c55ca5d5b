INSERT INTO task_attempts (task_id, fencing_token, attempt, outcome, worker_id, reserved_at_utc, started_at_utc,
                           finished_at_utc, error_type, error_message, traceback, retry_at_utc)
SELECT id, token, attempt, outcome, worker, to_timestamp(reserved), to_timestamp(started), to_timestamp(finished), type,
       message, traceback, to_timestamp(retry)
  FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::float8[],
              %s::text[], %s::text[], %s::text[], %s::float8[])
       AS a (id, token, attempt, outcome, worker, reserved, started, finished, type, message, traceback, retry)
ON CONFLICT (task_id, fencing_token) DO UPDATE
   SET attempt = excluded.attempt, outcome = excluded.outcome, worker_id = excluded.worker_id,
       reserved_at_utc = excluded.reserved_at_utc, started_at_utc = excluded.started_at_utc,
       finished_at_utc = excluded.finished_at_utc, error_type = excluded.error_type,
       error_message = excluded.error_message, traceback = excluded.traceback, retry_at_utc = excluded.retry_at_utc
