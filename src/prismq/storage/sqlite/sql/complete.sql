-- An equal revision means: nobody has touched the row since. The status as well: a holder whose start was lost,
-- and who does not know yet, would else take the reaper's change for its own.
-- Columns of `ended`: id, fencing_token, revision, status, started, finished, result.
UPDATE task_queue
   SET status = 'completed', processing_started_utc = ended.column5, finished_at_utc = ended.column6,
       updated_at_utc = ended.column6, result = ended.column7, lease_until_utc = NULL, error_message = NULL,
       cancel_requested_utc = NULL, revision = revision + 1
  FROM (VALUES (?, ?, ?, ?, ?, ?, ?)) AS ended
 WHERE id = ended.column1 AND fencing_token = ended.column2 AND revision = ended.column3 AND status = ended.column4
