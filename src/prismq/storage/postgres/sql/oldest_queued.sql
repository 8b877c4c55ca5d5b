-- When the earliest of the first tasks of each queue and priority was made; found as in oldest_ready.sql.
WITH RECURSIVE lanes AS (
    (SELECT queue, priority FROM task_queue WHERE status = 'queued' AND revision >= 0 ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT next.queue, next.priority
      FROM lanes
     CROSS JOIN LATERAL (SELECT t.queue, t.priority FROM task_queue AS t
                          WHERE t.status = 'queued' AND t.revision >= 0
                            AND (t.queue, t.priority) > (lanes.queue, lanes.priority)
                          ORDER BY t.queue, t.priority LIMIT 1) AS next
)
SELECT min(head.created_at_utc)
  FROM lanes
 CROSS JOIN LATERAL (SELECT t.created_at_utc FROM task_queue AS t
                      WHERE t.status = 'queued' AND t.revision >= 0 AND t.queue = lanes.queue
                        AND t.priority BETWEEN lanes.priority AND lanes.priority
                      ORDER BY t.priority, t.id LIMIT %(look_at)s) AS head
