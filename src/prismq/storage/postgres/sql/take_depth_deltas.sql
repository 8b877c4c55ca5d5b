DELETE FROM queue_depth_deltas
 WHERE ctid = ANY (ARRAY (SELECT ctid FROM queue_depth_deltas LIMIT %(limit)s))
RETURNING queue, type, status, band, tasks, extract(epoch FROM slot_utc)::float8
