-- The look is bounded: the index knows when a task ended, and not of which queue it was.
SELECT * FROM task_queue
 WHERE id IN (SELECT id FROM (SELECT id, queue FROM task_queue
                               WHERE status IN ('failed', 'dead_letter') AND finished_at_utc IS NOT NULL
                               ORDER BY finished_at_utc DESC LIMIT ?1)
               WHERE ?2 IS NULL OR queue = ?2
               LIMIT ?3)
 ORDER BY finished_at_utc DESC, id DESC
