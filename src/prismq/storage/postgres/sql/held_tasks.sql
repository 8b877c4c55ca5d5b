-- The few tasks in someone's hands.
SELECT id, queue, type, processing_started_utc, crashes
  FROM task_queue
 WHERE status IN ('claimed', 'processing')
 LIMIT %(limit)s
