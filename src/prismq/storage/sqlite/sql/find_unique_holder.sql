-- The task that holds the key: within its window, or, where asked for, until it has ended.
SELECT k.task_id
  FROM unique_keys AS k
  LEFT JOIN task_queue AS t ON t.id = k.task_id
 WHERE k.unique_key = ?1
   AND t.id IS NOT NULL
   AND t.status <> 'cancelled'
   AND (k.until_utc > ?2
        OR (k.pending = 1 AND t.status IN ('scheduled', 'queued', 'claimed', 'processing')))
