-- What is missing is added, rather than the count written: whoever changes tasks meanwhile adds, too.
INSERT INTO queue_depth_deltas (queue, type, status, band, tasks)
SELECT queue, type, status, band, sum(tasks)::bigint
  FROM (SELECT queue, type, status, prismq_band(priority) AS band, count(*) AS tasks FROM task_queue GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT queue, type, status, band, -tasks FROM queue_depth
        UNION ALL
        SELECT queue, type, status, band, -tasks FROM queue_depth_deltas) AS all_three
 GROUP BY queue, type, status, band
HAVING sum(tasks) <> 0
