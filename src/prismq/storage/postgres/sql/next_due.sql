-- Not min(): where statistics say that nothing is scheduled, PostgreSQL would go through all that is.
SELECT (SELECT run_after_utc FROM task_queue WHERE status = 'scheduled' ORDER BY run_after_utc LIMIT 1)
