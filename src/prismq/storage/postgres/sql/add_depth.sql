INSERT INTO queue_depth_deltas (queue, type, status, band, tasks)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
