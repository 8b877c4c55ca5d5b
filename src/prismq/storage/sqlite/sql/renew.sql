-- `revision` stays: a renewal changes nothing that is counted.
UPDATE task_queue
   SET lease_until_utc = ?2
 WHERE locked_by IN (SELECT value FROM json_each(?1)) AND status IN ('claimed', 'processing')
   AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3)))
RETURNING id, fencing_token, cancel_requested_utc IS NOT NULL
