-- `status` keeps a task that an operator queued again.
SELECT id FROM task_queue INDEXED BY ix_task_keep_until
 WHERE retention_seconds IS NOT NULL
   AND julianday(finished_at_utc) + retention_seconds / 86400.0 < julianday(?1)
   AND status IN ('completed', 'cancelled', 'failed', 'dead_letter')
 LIMIT ?2
