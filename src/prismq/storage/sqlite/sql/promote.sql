-- What has become due, earliest first, a bounded number a time.
UPDATE task_queue
   SET status = 'queued', revision = revision + 1
 WHERE id IN (SELECT id FROM task_queue
               WHERE status = 'scheduled' AND run_after_utc <= ?1
               ORDER BY run_after_utc LIMIT ?2)
RETURNING id, queue, type, priority
