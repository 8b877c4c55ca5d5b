SELECT queue, type, outcome, sum(tasks), sum(attempts), sum(retried), sum(wait_s), sum(run_s), NULL, NULL
  FROM task_hours
 WHERE slot_utc >= ?1 AND slot_utc < ?2
   AND (?3 IS NULL OR outcome IN (SELECT value FROM json_each(?3)))
   AND (?4 IS NULL OR queue IN (SELECT value FROM json_each(?4)))
 GROUP BY queue, type, outcome
