SELECT count(*) FROM task_queue WHERE status IN ('claimed', 'processing') AND queue = ?
