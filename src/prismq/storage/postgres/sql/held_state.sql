SELECT status, fencing_token, revision, queue, type, priority, cancel_requested_utc IS NOT NULL
  FROM task_queue WHERE id = %s FOR NO KEY UPDATE
