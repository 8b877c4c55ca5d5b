-- Tasks that came by COPY, which counts nothing.
INSERT INTO queue_depth_deltas (queue, type, status, band, tasks, slot_utc)
SELECT queue, type, status, band, tasks, date_trunc('minute', %s::timestamptz)
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[]) AS new (queue, type, status, band, tasks)
