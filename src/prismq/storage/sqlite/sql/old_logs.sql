-- In the order of the ids, and not of the times: a line written by hand may have any time.
SELECT log_id FROM task_logs WHERE log_id > ?1 AND at_utc < ?2 ORDER BY log_id LIMIT ?3
