-- One statement, one moment: folding moves rows from the one table to the other.
SELECT queue, type, status, band, sum(tasks)::bigint
  FROM (SELECT queue, type, status, band, tasks FROM queue_depth
        UNION ALL
        SELECT queue, type, status, band, tasks FROM queue_depth_deltas) AS both_tables
 GROUP BY queue, type, status, band
HAVING sum(tasks) <> 0
