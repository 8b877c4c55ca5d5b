SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
       CASE WHEN ?5 THEN wait_bins END, run_bins
  FROM task_hours
 WHERE slot_utc >= ?1 AND slot_utc < ?2
   AND (?3 IS NULL OR outcome IN (SELECT value FROM json_each(?3)))
   AND (?4 IS NULL OR queue IN (SELECT value FROM json_each(?4)))
