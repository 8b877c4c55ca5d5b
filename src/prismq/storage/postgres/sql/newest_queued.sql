-- The newest of what is queued, where newer tasks of other states would hide them from a walk by id: of each queue and
-- priority its newest, as oldest_ready.sql finds the oldest.
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
SELECT head.id
  FROM lanes
 CROSS JOIN LATERAL (SELECT t.id FROM task_queue AS t
                      WHERE t.status = 'queued' AND t.revision >= 0 AND t.queue = lanes.queue
                        AND t.priority BETWEEN lanes.priority AND lanes.priority AND t.id < %(before)s
                      ORDER BY t.priority DESC, t.id DESC LIMIT %(limit)s) AS head
 ORDER BY head.id DESC LIMIT %(limit)s
