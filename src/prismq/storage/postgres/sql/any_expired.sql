SELECT 1
  FROM task_queue
 WHERE status IN ('claimed', 'processing')
   AND (lease_until_utc IS NULL OR lease_until_utc <= %(now)s OR locked_by = ANY (%(dead)s::text[]))
 LIMIT 1
