UPDATE task_queue SET result = ? WHERE id = ? AND fencing_token = ? AND status = 'completed'
