-- The + keeps SQLite from going through all that is queued instead of by the ids, which the statistics of a queue
-- that was short when they were taken would make it do.
-- Claiming counts as an attempt, so that a task that kills its worker cannot do so for ever.
UPDATE task_queue
   SET status = 'claimed', attempts = attempts + 1, fencing_token = fencing_token + 1, revision = revision + 1,
       locked_by = ?2, lease_until_utc = ?3, reserved_at_utc = ?4, updated_at_utc = ?4,
       processing_started_utc = NULL, progress = NULL
 WHERE id IN (SELECT value FROM json_each(?1)) AND +status = 'queued'
RETURNING id, fencing_token, revision, type, queue, priority, payload, attempts, max_attempts, run_after_utc,
          timeout_seconds, backoff, retention_seconds, crashes, headers, schedule, idempotency_key
