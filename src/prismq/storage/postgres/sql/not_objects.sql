SELECT id
  FROM (SELECT id, payload FROM task_queue WHERE status = 'queued' ORDER BY queue, priority, id LIMIT %(limit)s) AS q
 WHERE jsonb_typeof(payload) <> 'object'
UNION ALL
SELECT id
  FROM (SELECT id, payload FROM task_queue WHERE status = 'scheduled' ORDER BY run_after_utc LIMIT %(limit)s) AS s
 WHERE jsonb_typeof(payload) <> 'object'
 LIMIT 100
