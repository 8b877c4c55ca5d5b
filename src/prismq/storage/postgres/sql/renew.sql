-- `revision` stays: a renewal changes nothing that is counted.
UPDATE task_queue
   SET lease_until_utc = %(until)s
 WHERE locked_by = ANY (%(workers)s::text[]) AND status IN ('claimed', 'processing')
   AND (%(only)s::bigint[] IS NULL OR id = ANY (%(only)s::bigint[]))
RETURNING id, fencing_token, cancel_requested_utc IS NOT NULL
