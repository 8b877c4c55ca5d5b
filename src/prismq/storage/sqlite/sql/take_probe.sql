-- The task that was claimed of a type whose breaker is half open; the others of it wait for its end.
UPDATE breakers SET state = 'probing', since_utc = ?3, probe_task_id = ?2 WHERE type = ?1 AND state = 'half_open'
