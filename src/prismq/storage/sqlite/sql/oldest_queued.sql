-- How many of the first tasks of a class there are, and when the earliest of them was made. A time that cannot be
-- read is nobody's.
SELECT count(*), min(strftime('%Y-%m-%d %H:%M:%f', created_at_utc))
  FROM (SELECT created_at_utc FROM task_queue
         WHERE status = 'queued' AND queue = ?1 AND priority = ?2
         ORDER BY id LIMIT ?3)
