-- The look is bounded: the index knows when a task ended, and not of which queue it was.
SELECT id
  FROM (SELECT id, queue, finished_at_utc
          FROM task_queue
         WHERE status IN ('failed', 'dead_letter') AND finished_at_utc IS NOT NULL
         ORDER BY finished_at_utc DESC LIMIT %(look_at)s) AS newest
 WHERE %(queue)s::text IS NULL OR queue = %(queue)s
 ORDER BY finished_at_utc DESC, id DESC LIMIT %(limit)s
