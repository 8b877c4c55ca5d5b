SELECT queue, type, outcome, finished_at_utc, attempts, used_up, run_s
  FROM ends_by_hand
 WHERE finished_at_utc >= ?1 AND finished_at_utc <= ?2
