UPDATE task_queue
   SET priority = %(priority)s, updated_at_utc = %(now)s, revision = revision + 1
 WHERE id = ANY (%(ids)s::bigint[])
