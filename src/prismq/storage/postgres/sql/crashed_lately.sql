-- Of the newest failures, those whose attempts were lost with their workers more than once.
SELECT id, queue, type, processing_started_utc, crashes
  FROM (SELECT id, queue, type, processing_started_utc, crashes
          FROM task_queue
         WHERE status IN ('failed', 'dead_letter') AND finished_at_utc >= %(since)s
         ORDER BY finished_at_utc DESC LIMIT %(limit)s) AS newest
 WHERE crashes > 1
