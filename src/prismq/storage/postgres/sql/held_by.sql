-- The columns are those of expire.sql.
SELECT id, type, queue, priority, status, locked_by, attempts, max_attempts, fencing_token,
       reserved_at_utc, processing_started_utc, crashes, cancel_requested_utc IS NOT NULL
  FROM task_queue
 WHERE status IN ('claimed', 'processing') AND locked_by = ANY (%(workers)s::text[])
 ORDER BY id
 LIMIT %(limit)s
   FOR NO KEY UPDATE
