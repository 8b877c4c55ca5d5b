UPDATE task_queue SET result = ?, lease_until_utc = NULL WHERE id = ? AND fencing_token = ? AND status = 'completed'
