-- The columns are those of expire.sql.
SELECT id, type, queue, priority, status, locked_by, attempts, max_attempts, fencing_token, revision,
       reserved_at_utc, processing_started_utc, crashes, cancel_requested_utc
  FROM task_queue
 WHERE status IN ('claimed', 'processing') AND locked_by IN (SELECT value FROM json_each(?1))
 LIMIT ?2
