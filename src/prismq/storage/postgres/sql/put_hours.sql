INSERT INTO task_hours (slot_utc, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins)
SELECT *
  FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::float8[], %s::float8[], %s::json[], %s::json[])
ON CONFLICT (slot_utc, queue, type, outcome) DO UPDATE
   SET tasks = excluded.tasks, attempts = excluded.attempts, retried = excluded.retried, wait_s = excluded.wait_s,
       run_s = excluded.run_s, wait_bins = excluded.wait_bins, run_bins = excluded.run_bins
