SELECT log_id, task_id, at_utc, level, message, details, attempt FROM task_logs INDEXED BY ix_logs_task
 WHERE task_id = :task_id
   AND log_id < :before_id
   AND level IN (SELECT value FROM json_each(:levels))
   AND (:after IS NULL OR at_utc >= :after)
   AND (:before IS NULL OR at_utc < :before)
   AND (:text IS NULL OR instr(lower(message), lower(:text)) OR instr(lower(details), lower(:text)))
 ORDER BY log_id DESC LIMIT :limit
