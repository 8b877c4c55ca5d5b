-- How many tasks lie between the ids of each class, counted no further than a bound. A class without a route is one
-- of a whole queue. The range of one priority: see oldest_ready.sql.
SELECT count(*)
  FROM (SELECT 1
          FROM unnest(%(queues)s::text[], %(routes)s::text[], %(priorities)s::int[], %(above)s::bigint[],
                      %(below)s::bigint[]) AS class (queue, route, priority, above, below)
         CROSS JOIN LATERAL (
               SELECT * FROM (
                   SELECT 1 FROM task_queue AS t
                    WHERE class.route IS NULL AND t.status = 'queued' AND t.revision >= 0 AND t.queue = class.queue
                      AND t.priority BETWEEN class.priority AND class.priority
                      AND t.id > class.above AND t.id < class.below
                    ORDER BY t.priority, t.id LIMIT %(at_most)s) AS of_queue
               UNION ALL
               SELECT * FROM (
                   SELECT 1 FROM task_queue AS t
                    WHERE class.route IS NOT NULL AND t.status = 'queued' AND t.queue = class.queue
                      AND t.route = class.route AND t.priority BETWEEN class.priority AND class.priority
                      AND t.id > class.above AND t.id < class.below
                    ORDER BY t.priority, t.id LIMIT %(at_most)s) AS of_route) AS found
         LIMIT %(at_most)s) AS bounded
