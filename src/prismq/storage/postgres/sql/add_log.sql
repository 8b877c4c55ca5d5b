-- FOR KEY SHARE: a task that is deleted just now is gone, and not an error. Whether the commit waits for the disk is
-- said here and not before: a transaction of four statements takes two to three times as long as this one alone.
INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)
SELECT id, %(at)s, %(level)s, %(message)s, %(details)s::jsonb, %(attempt)s::int
  FROM task_queue
 WHERE id = %(task_id)s
   AND set_config('synchronous_commit',
                  CASE WHEN %(waits)s THEN current_setting('synchronous_commit') ELSE 'off' END, true) IS NOT NULL
   FOR KEY SHARE
