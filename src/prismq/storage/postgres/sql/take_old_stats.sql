DELETE FROM task_stats
 WHERE ctid = ANY (ARRAY (SELECT ctid FROM task_stats WHERE span_s = %(span_s)s AND slot_utc < %(before)s
                            ORDER BY span_s, slot_utc LIMIT %(limit)s))
RETURNING extract(epoch FROM slot_utc)::float8, queue, type, outcome, tasks, attempts, retried, wait_s, run_s,
          wait_bins, run_bins
