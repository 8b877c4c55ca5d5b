INSERT INTO task_logs (task_id, at_utc, level, message)
SELECT n.task_id, %(now)s, 'INFO', n.message
  FROM unnest(%(ids)s::bigint[], %(messages)s::text[]) AS n (task_id, message)
