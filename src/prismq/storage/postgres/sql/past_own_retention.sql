-- The sum in the words of its index. `status` keeps a task that an operator queued again.
SELECT id, revision, fencing_token
  FROM task_queue
 WHERE retention_seconds IS NOT NULL
   AND (finished_at_utc AT TIME ZONE 'UTC') + make_interval(secs => retention_seconds)
       < (%(before)s::timestamptz AT TIME ZONE 'UTC')
   AND status IN ('completed', 'cancelled', 'failed', 'dead_letter')
 ORDER BY (finished_at_utc AT TIME ZONE 'UTC') + make_interval(secs => retention_seconds)
 LIMIT %(limit)s
