UPDATE task_queue
   SET status = 'queued', run_after_utc = %(now)s, updated_at_utc = %(now)s, revision = revision + 1
 WHERE id = ANY (%(ids)s::bigint[])
