-- How many tasks of a class lie between two ids, counted no further than a bound.
SELECT count(*)
  FROM (SELECT 1 FROM task_queue
         WHERE status = 'queued' AND queue = ?1 AND route = ?6 AND priority = ?2 AND id > ?3 AND id < ?4
         LIMIT ?5)
