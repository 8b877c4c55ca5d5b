-- A stretch of the table, from the newest backwards: a look has an end, whatever it is for.
SELECT log_id, task_id, at_utc, level, message, details, attempt FROM task_logs
 WHERE log_id < :before_id AND log_id >= :from_id
   AND level IN (SELECT value FROM json_each(:levels))
   AND (:after IS NULL OR at_utc >= :after)
   AND (:before IS NULL OR at_utc < :before)
   AND (:text IS NULL OR instr(lower(message), lower(:text)) OR instr(lower(details), lower(:text)))
 ORDER BY log_id DESC LIMIT :limit
