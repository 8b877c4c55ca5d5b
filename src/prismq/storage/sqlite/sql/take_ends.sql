DELETE FROM ends_by_hand
 WHERE end_id IN (SELECT end_id FROM ends_by_hand ORDER BY end_id LIMIT ?1)
RETURNING queue, type, outcome, finished_at_utc, attempts, used_up, run_s
