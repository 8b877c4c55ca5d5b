SELECT t.queue, t.type, t.outcome, t.wait_bins, t.run_bins
  FROM task_totals AS t
 WHERE (t.queue, t.type, t.outcome) IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]))
