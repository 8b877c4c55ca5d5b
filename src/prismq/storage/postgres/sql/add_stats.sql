INSERT INTO task_stats_deltas (slot_utc, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins,
                               run_bins)
SELECT %s::timestamptz, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins::json, run_bins::json
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[], %s::float8[],
              %s::text[], %s::text[])
       AS ended (queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins)
