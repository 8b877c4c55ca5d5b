-- The revision, so that a settlement on its way looks again before it queues a retry.
UPDATE task_queue
   SET cancel_requested_utc = coalesce(cancel_requested_utc, %(now)s), updated_at_utc = %(now)s,
       revision = revision + 1
 WHERE id = ANY (%(ids)s::bigint[])
