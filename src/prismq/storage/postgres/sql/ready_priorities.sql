-- Of each lane, the priorities that have ready tasks, one look-up each. A lane without a route is a whole queue.
WITH RECURSIVE lane (number, queue, route) AS MATERIALIZED (
    SELECT number, queue, route
      FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS given (queue, route, number)
), ready (number, queue, route, priority) AS (
    SELECT lane.number, lane.queue, lane.route, CASE
               WHEN lane.route IS NULL THEN (
                   SELECT t.priority FROM task_queue AS t
                    WHERE t.status = 'queued' AND t.revision >= 0 AND t.queue = lane.queue
                    ORDER BY t.priority LIMIT 1)
               ELSE (
                   SELECT t.priority FROM task_queue AS t
                    WHERE t.status = 'queued' AND t.queue = lane.queue AND t.route = lane.route
                    ORDER BY t.priority LIMIT 1)
           END
      FROM lane
    UNION ALL
    SELECT ready.number, ready.queue, ready.route, CASE
               WHEN ready.route IS NULL THEN (
                   SELECT t.priority FROM task_queue AS t
                    WHERE t.status = 'queued' AND t.revision >= 0 AND t.queue = ready.queue
                      AND t.priority > ready.priority
                    ORDER BY t.priority LIMIT 1)
               ELSE (
                   SELECT t.priority FROM task_queue AS t
                    WHERE t.status = 'queued' AND t.queue = ready.queue AND t.route = ready.route
                      AND t.priority > ready.priority
                    ORDER BY t.priority LIMIT 1)
           END
      FROM ready
     WHERE ready.priority IS NOT NULL
)
SELECT number, priority FROM ready WHERE priority IS NOT NULL
