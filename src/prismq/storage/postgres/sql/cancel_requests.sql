SELECT id, fencing_token FROM task_queue
 WHERE locked_by = %s AND status IN ('claimed', 'processing') AND cancel_requested_utc IS NOT NULL
