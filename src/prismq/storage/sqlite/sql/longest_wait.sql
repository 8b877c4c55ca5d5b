-- How many of the first tasks of a class are ready, and since when the earliest of them. A time that cannot be read
-- is nobody's.
SELECT count(*), min(strftime('%Y-%m-%d %H:%M:%f', run_after_utc))
  FROM (SELECT run_after_utc FROM task_queue
         WHERE status = 'queued' AND queue = ?1 AND priority = ?4 AND run_after_utc <= ?2
         ORDER BY id LIMIT ?3)
