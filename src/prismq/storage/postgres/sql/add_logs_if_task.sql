-- FOR KEY SHARE: a task that is deleted just now is gone, and not an error.
-- NOT EXISTS: where the answer to a commit was lost, the same lines come again. Their times may differ a little: how far
-- the server's clock is ahead was measured anew with the new connection.
INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT line.id, to_timestamp(line.at), line.level, line.message, line.details::jsonb, line.attempt
  FROM unnest(%s::bigint[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::int[])
       WITH ORDINALITY AS line (id, at, level, message, details, attempt, number)
  JOIN task_queue AS t ON t.id = line.id
 WHERE NOT EXISTS (
           SELECT FROM task_logs AS l
            WHERE l.task_id = line.id AND l.message = line.message AND l.attempt IS NOT DISTINCT FROM line.attempt
              AND l.at_utc BETWEEN to_timestamp(line.at - 0.05) AND to_timestamp(line.at + 0.05))
 ORDER BY line.number
   FOR KEY SHARE OF t
