SELECT status, fencing_token, revision, queue, type, priority, cancel_requested_utc FROM task_queue WHERE id = ?
