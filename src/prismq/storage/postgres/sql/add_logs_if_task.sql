-- FOR KEY SHARE: a task that is deleted just now is gone, and not an error.
INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT line.id, to_timestamp(line.at), line.level, line.message, line.details::jsonb, line.attempt
  FROM unnest(%s::bigint[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::int[])
       WITH ORDINALITY AS line (id, at, level, message, details, attempt, number)
  JOIN task_queue AS t ON t.id = line.id
 ORDER BY line.number
   FOR KEY SHARE OF t
