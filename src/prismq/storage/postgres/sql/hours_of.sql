SELECT extract(epoch FROM h.slot_utc)::float8, h.queue, h.type, h.outcome, h.tasks, h.attempts, h.retried, h.wait_s,
       h.run_s, h.wait_bins, h.run_bins
  FROM task_hours AS h
 WHERE (h.slot_utc, h.queue, h.type, h.outcome) IN (
           SELECT k.slot_utc, k.queue, k.type, k.outcome
             FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[]) AS k (slot_utc, queue, type, outcome))
