-- Of each lane its first tasks, as many as its `most` says. A lane without a route is a whole queue.
SELECT lane.number, head.priority, head.id
  FROM unnest(%(queues)s::text[], %(routes)s::text[], %(most)s::int[])
       WITH ORDINALITY AS lane (queue, route, most, number)
 CROSS JOIN LATERAL (
       SELECT * FROM (
           SELECT t.priority, t.id FROM task_queue AS t
            WHERE lane.route IS NULL AND t.status = 'queued' AND t.revision >= 0 AND t.queue = lane.queue
            ORDER BY t.priority, t.id LIMIT lane.most :lock) AS of_queue
       UNION ALL
       SELECT * FROM (
           SELECT t.priority, t.id FROM task_queue AS t
            WHERE lane.route IS NOT NULL AND t.status = 'queued' AND t.queue = lane.queue AND t.route = lane.route
            ORDER BY t.priority, t.id LIMIT lane.most :lock) AS of_route) AS head
