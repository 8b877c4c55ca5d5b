-- Every other end of an attempt. A task that waits again has nobody's name on it.
UPDATE task_queue
   SET status = ?1,
       processing_started_utc = ?2,
       finished_at_utc = CASE WHEN ?1 IN ('queued', 'scheduled') THEN NULL ELSE ?3 END,
       updated_at_utc = ?3,
       run_after_utc = coalesce(?4, run_after_utc),
       error_message = coalesce(?5, CASE WHEN ?1 = 'cancelled' THEN error_message END),
       attempts = attempts - ?6,
       locked_by = CASE WHEN ?1 IN ('queued', 'scheduled') THEN NULL ELSE locked_by END,
       lease_until_utc = NULL,
       cancel_requested_utc = NULL,
       revision = revision + 1
 WHERE id = ?7 AND fencing_token = ?8 AND revision = ?9 AND status = ?10
