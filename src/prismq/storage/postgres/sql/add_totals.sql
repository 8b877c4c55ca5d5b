-- Bins come merged with those of the row.
INSERT INTO task_totals AS t (queue, type, outcome, tasks, attempts, retried, wait_us, run_us, wait_bins, run_bins)
SELECT *
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::json[], %s::json[])
ON CONFLICT (queue, type, outcome) DO UPDATE
   SET tasks = t.tasks + excluded.tasks, attempts = t.attempts + excluded.attempts,
       retried = t.retried + excluded.retried, wait_us = t.wait_us + excluded.wait_us,
       run_us = t.run_us + excluded.run_us, wait_bins = excluded.wait_bins, run_bins = excluded.run_bins
