-- Leases that ran out, and those of workers known to be dead. A lease is over at lease_until itself.
-- A lease without an end was written by hand: it counts as run out.
SELECT id, type, queue, priority, status, locked_by, attempts, max_attempts, fencing_token, revision,
       reserved_at_utc, processing_started_utc, crashes, cancel_requested_utc
  FROM task_queue
 WHERE status IN ('claimed', 'processing')
   AND (lease_until_utc IS NULL OR lease_until_utc <= ?1
        OR locked_by IN (SELECT value FROM json_each(?2)))
 LIMIT ?3
