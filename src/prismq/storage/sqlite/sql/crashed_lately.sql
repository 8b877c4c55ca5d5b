-- Of the newest failures, those whose attempts were lost with their workers more than once.
SELECT id, queue, type, processing_started_utc, crashes
  FROM (SELECT id, queue, type, processing_started_utc, crashes
          FROM task_queue INDEXED BY ix_task_failures
         WHERE status IN ('failed', 'dead_letter') AND finished_at_utc >= ?1
         ORDER BY finished_at_utc DESC LIMIT ?2)
 WHERE crashes > 1
