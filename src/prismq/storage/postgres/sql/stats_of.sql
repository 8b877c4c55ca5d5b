SELECT extract(epoch FROM s.slot_utc)::float8, s.queue, s.type, s.outcome, s.tasks, s.attempts, s.retried, s.wait_s,
       s.run_s, s.wait_bins, s.run_bins
  FROM task_stats AS s
 WHERE (s.span_s, s.slot_utc, s.queue, s.type, s.outcome) IN (
           SELECT %s::int, k.slot_utc, k.queue, k.type, k.outcome
             FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[]) AS k (slot_utc, queue, type, outcome))
