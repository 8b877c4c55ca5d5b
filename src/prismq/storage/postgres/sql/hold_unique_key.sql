INSERT INTO unique_keys (unique_key, task_id, until_utc, pending) VALUES (%s, %s, %s, %s)
ON CONFLICT (unique_key) DO UPDATE
   SET task_id = excluded.task_id, until_utc = excluded.until_utc, pending = excluded.pending
