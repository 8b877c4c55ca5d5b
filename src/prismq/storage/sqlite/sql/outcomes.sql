SELECT queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
       CASE WHEN ?6 THEN wait_bins END, run_bins
  FROM task_stats
 WHERE span_s = ?1 AND slot_utc >= ?2 AND slot_utc < ?3
   AND (?4 IS NULL OR outcome IN (SELECT value FROM json_each(?4)))
   AND (?5 IS NULL OR queue IN (SELECT value FROM json_each(?5)))
