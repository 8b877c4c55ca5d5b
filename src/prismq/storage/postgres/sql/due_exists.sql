SELECT EXISTS (SELECT 1 FROM task_queue WHERE status = 'scheduled' AND run_after_utc <= %s)
