-- Without bins, which only Python can merge, a day comes as a few rows.
SELECT queue, type, outcome, sum(tasks), sum(attempts), sum(retried), sum(wait_s), sum(run_s), NULL, NULL
  FROM task_stats
 WHERE span_s = ?1 AND slot_utc >= ?2 AND slot_utc < ?3
   AND (?4 IS NULL OR outcome IN (SELECT value FROM json_each(?4)))
   AND (?5 IS NULL OR queue IN (SELECT value FROM json_each(?5)))
 GROUP BY queue, type, outcome
