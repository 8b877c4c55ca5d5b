UPDATE task_queue
   SET status = 'processing', processing_started_utc = ?1, updated_at_utc = ?1, revision = revision + 1
 WHERE id = ?2 AND fencing_token = ?3 AND revision = ?4 AND status = 'claimed'
