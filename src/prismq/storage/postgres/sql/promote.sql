-- What has become due, earliest first, a bounded number a time; what others promote just now is left to them.
WITH promoted AS (
    UPDATE task_queue
       SET status = 'queued', revision = revision + 1
     WHERE id = ANY (ARRAY (
           SELECT id FROM task_queue
            WHERE status = 'scheduled' AND run_after_utc <= %(now)s
            ORDER BY run_after_utc LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING queue, type, priority
)
INSERT INTO queue_depth_deltas (queue, type, status, band, tasks)
SELECT queue, type, status, prismq_band(priority), sum(step)
  FROM promoted, (VALUES ('scheduled', -1), ('queued', 1)) AS side (status, step)
 GROUP BY 1, 2, 3, 4
