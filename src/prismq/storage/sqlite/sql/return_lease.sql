UPDATE task_queue
   SET status = ?1, attempts = attempts - ?2, crashes = crashes + ?3, locked_by = NULL, lease_until_utc = NULL,
       cancel_requested_utc = NULL,
       processing_started_utc = CASE WHEN ?1 = 'queued' THEN NULL ELSE processing_started_utc END,
       finished_at_utc = CASE WHEN ?1 = 'queued' THEN NULL ELSE ?4 END, updated_at_utc = ?4,
       error_message = coalesce(?5, error_message), revision = revision + 1
 WHERE id = ?6 AND fencing_token = ?7 AND revision = ?8
