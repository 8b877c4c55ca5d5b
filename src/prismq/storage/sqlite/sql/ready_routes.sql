-- A loose index scan: one look-up a route. A worker that can serve none of a million tasks sees that here.
WITH RECURSIVE ready(route) AS (
    SELECT min(route) FROM task_queue WHERE status = 'queued' AND queue = ?1
    UNION ALL
    SELECT (SELECT min(t.route) FROM task_queue AS t
             WHERE t.status = 'queued' AND t.queue = ?1 AND t.route > ready.route)
      FROM ready
     WHERE ready.route IS NOT NULL
)
SELECT route FROM ready WHERE route IS NOT NULL
