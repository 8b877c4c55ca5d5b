-- Since when the first tasks of each queue and priority are ready. The lanes are found by a loose index scan, one
-- look-up each; the revision is the index's own condition. The range of one priority, not an equality: with that the order would be the id's alone, and
-- PostgreSQL, with statistics of another day, might look for it through all the ids there are.
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
SELECT lanes.queue, min(head.run_after_utc)
  FROM lanes
 CROSS JOIN LATERAL (SELECT t.run_after_utc FROM task_queue AS t
                      WHERE t.status = 'queued' AND t.revision >= 0 AND t.queue = lanes.queue
                        AND t.priority BETWEEN lanes.priority AND lanes.priority AND t.run_after_utc <= %(now)s
                      ORDER BY t.priority, t.id LIMIT %(look_at)s) AS head
 GROUP BY lanes.queue
