SELECT id, revision, fencing_token
  FROM task_queue
 WHERE status IN ('failed', 'dead_letter') AND finished_at_utc < %(before)s AND retention_seconds IS NULL
 ORDER BY finished_at_utc
 LIMIT %(limit)s
