-- FOR KEY SHARE: a task that is deleted just now is gone, and not an error.
INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT id, %(at)s, %(level)s, %(message)s, %(details)s::jsonb, %(attempt)s::int
  FROM task_queue WHERE id = %(task_id)s FOR KEY SHARE
