SELECT min(run_after_utc) FROM task_queue WHERE status = 'scheduled'
