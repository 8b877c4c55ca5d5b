-- In the order of the key, as everybody who locks several rows of a table does.
INSERT INTO queue_depth AS d (queue, type, status, band, tasks)
SELECT *
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[]) AS n (queue, type, status, band, tasks)
 ORDER BY 1, 2, 3, 4
ON CONFLICT (queue, type, status, band) DO UPDATE SET tasks = d.tasks + excluded.tasks
