INSERT INTO queues AS q (queue, paused_at_utc, paused_by) VALUES (%s, %s, %s)
ON CONFLICT (queue) DO UPDATE
   SET paused_at_utc = coalesce(q.paused_at_utc, excluded.paused_at_utc),
       paused_by = coalesce(q.paused_by, excluded.paused_by)
