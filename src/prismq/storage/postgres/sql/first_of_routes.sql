-- Of each route its first task that is ready. run_after: a row written by hand may be queued before its time.
SELECT lane.queue, lane.route, head.id, head.run_after_utc
  FROM unnest(%(queues)s::text[], %(routes)s::text[]) AS lane (queue, route)
 CROSS JOIN LATERAL (
       SELECT t.id, t.run_after_utc FROM task_queue AS t
        WHERE t.status = 'queued' AND t.queue = lane.queue AND t.route = lane.route AND t.run_after_utc <= %(now)s
        ORDER BY t.priority, t.id LIMIT 1) AS head
