SELECT id FROM task_queue INDEXED BY ix_task_finished
 WHERE status IN ('completed', 'cancelled') AND finished_at_utc < ?1 AND retention_seconds IS NULL
 ORDER BY finished_at_utc LIMIT ?2
