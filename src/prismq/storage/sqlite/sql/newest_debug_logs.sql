-- No index has these. Where nobody writes them, a look at all the others would find none of them.
SELECT log_id, task_id, at_utc, level, message, details, attempt FROM task_logs
 WHERE level = 'DEBUG' AND log_id > (SELECT max(log_id) FROM task_logs) - ?1
 ORDER BY log_id DESC LIMIT ?2
