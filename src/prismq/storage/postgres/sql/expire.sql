-- Leases that ran out, and those of workers known to be dead. A lease is over at lease_until itself.
-- A lease without an end was written by hand: it counts as run out.
-- Whoever settles or renews just now holds the row, and is passed over: he is alive.
SELECT id, type, queue, priority, status, locked_by, attempts, max_attempts, fencing_token,
       reserved_at_utc, processing_started_utc, crashes, cancel_requested_utc IS NOT NULL
  FROM task_queue
 WHERE status IN ('claimed', 'processing')
   AND (lease_until_utc IS NULL OR lease_until_utc <= %(now)s OR locked_by = ANY (%(dead)s::text[]))
 LIMIT %(limit)s
   FOR NO KEY UPDATE SKIP LOCKED
