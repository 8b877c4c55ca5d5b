UPDATE task_queue
   SET status = 'queued', attempts = 0, crashes = 0, run_after_utc = %(now)s, finished_at_utc = NULL,
       locked_by = NULL, lease_until_utc = NULL, reserved_at_utc = NULL, processing_started_utc = NULL,
       result = NULL, progress = NULL, cancel_requested_utc = NULL, updated_at_utc = %(now)s,
       revision = revision + 1
 WHERE id = ANY (%(ids)s::bigint[])
