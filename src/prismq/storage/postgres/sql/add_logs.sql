INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT id, to_timestamp(at), level, message, details::jsonb, attempt
  FROM unnest(%s::bigint[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::int[])
       AS line (id, at, level, message, details, attempt)
