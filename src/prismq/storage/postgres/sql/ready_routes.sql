-- A loose index scan: one look-up a route. A worker that can serve none of a million tasks sees that here.
WITH RECURSIVE ready (queue, route) AS (
    (SELECT queue, route FROM task_queue WHERE status = 'queued' ORDER BY queue, route LIMIT 1)
    UNION ALL
    SELECT following.queue, following.route
      FROM ready
     CROSS JOIN LATERAL (
           SELECT t.queue, t.route FROM task_queue AS t
            WHERE t.status = 'queued' AND (t.queue, t.route) > (ready.queue, ready.route)
            ORDER BY t.queue, t.route LIMIT 1) AS following
)
SELECT queue, route FROM ready
