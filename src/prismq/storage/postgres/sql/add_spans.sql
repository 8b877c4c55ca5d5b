-- FOR KEY SHARE: a task that is deleted just now is gone, and not an error. Given twice, the last counts.
INSERT INTO task_spans (task_id, fencing_token, attempt, trace_id, spans)
SELECT given.id, given.token, given.attempt, given.trace_id, given.spans::jsonb
  FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::text[])
       AS given (id, token, attempt, trace_id, spans)
  JOIN task_queue AS t ON t.id = given.id
   FOR KEY SHARE OF t
ON CONFLICT (task_id, fencing_token) DO UPDATE SET trace_id = excluded.trace_id, spans = excluded.spans
