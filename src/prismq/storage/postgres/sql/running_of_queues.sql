SELECT queue, count(*) FROM task_queue
 WHERE status IN ('claimed', 'processing') AND queue = ANY (%s::text[])
 GROUP BY queue
