-- In the order of the ids, and not of the times: a line written by hand may have any time.
SELECT log_id FROM task_logs
 WHERE log_id > %(last_id)s AND at_utc < %(before)s
 ORDER BY log_id LIMIT %(limit)s
