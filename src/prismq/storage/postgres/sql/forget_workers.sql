DELETE FROM workers
 WHERE coalesce(stopped_at_utc, heartbeat_utc) < %s
   AND (%s OR NOT EXISTS (SELECT 1 FROM task_queue AS t
                           WHERE t.locked_by = workers.worker_id AND t.status IN ('claimed', 'processing')))
