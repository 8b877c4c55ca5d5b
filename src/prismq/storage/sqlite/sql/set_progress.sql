UPDATE task_queue SET progress = ? WHERE id = ? AND fencing_token = ? AND status IN ('claimed', 'processing')
