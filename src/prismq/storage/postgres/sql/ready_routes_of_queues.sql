-- The same among these queues.
WITH RECURSIVE ready (queue, route) AS (
    SELECT wanted.queue, first.route
      FROM unnest(%(queues)s::text[]) AS wanted (queue)
     CROSS JOIN LATERAL (
           SELECT t.route FROM task_queue AS t
            WHERE t.status = 'queued' AND t.queue = wanted.queue
            ORDER BY t.route LIMIT 1) AS first
    UNION ALL
    SELECT ready.queue, following.route
      FROM ready
     CROSS JOIN LATERAL (
           SELECT t.route FROM task_queue AS t
            WHERE t.status = 'queued' AND t.queue = ready.queue AND t.route > ready.route
            ORDER BY t.route LIMIT 1) AS following
)
SELECT queue, route FROM ready
