-- Log ids and times grow together: from the oldest on, a bounded stretch.
DELETE FROM task_logs
 WHERE log_id = ANY (ARRAY (SELECT log_id FROM task_logs ORDER BY log_id LIMIT %(limit)s)) AND at_utc < %(before)s
