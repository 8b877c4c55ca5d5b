-- Of each priority of each lane its oldest tasks, as many as its `most` says.
-- The range of one priority, not an equality: with that the order would be the id's alone, and PostgreSQL might look
-- for it through all the ids there are.
SELECT lane.number, lane.priority, head.id
  FROM unnest(%(queues)s::text[], %(routes)s::text[], %(priorities)s::int[], %(most)s::int[])
       WITH ORDINALITY AS lane (queue, route, priority, most, number)
 CROSS JOIN LATERAL (
       SELECT * FROM (
           SELECT t.id FROM task_queue AS t
            WHERE lane.route IS NULL AND t.status = 'queued' AND t.revision >= 0 AND t.queue = lane.queue
              AND t.priority BETWEEN lane.priority AND lane.priority
            ORDER BY t.priority, t.id LIMIT lane.most :lock) AS of_queue
       UNION ALL
       SELECT * FROM (
           SELECT t.id FROM task_queue AS t
            WHERE lane.route IS NOT NULL AND t.status = 'queued' AND t.queue = lane.queue AND t.route = lane.route
              AND t.priority BETWEEN lane.priority AND lane.priority
            ORDER BY t.priority, t.id LIMIT lane.most :lock) AS of_route) AS head
