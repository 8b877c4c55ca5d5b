-- An equal revision means: nobody has touched the row since. The status as well: a holder whose start was lost,
-- and who does not know yet, would else take the reaper's change for its own.
UPDATE task_queue
   SET status = 'completed', processing_started_utc = ?1, finished_at_utc = ?2, updated_at_utc = ?2,
       result = ?3, lease_until_utc = NULL, error_message = NULL, cancel_requested_utc = NULL,
       revision = revision + 1
 WHERE id = ?4 AND fencing_token = ?5 AND revision = ?6 AND status = ?7
