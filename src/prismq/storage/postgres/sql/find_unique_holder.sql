-- The task that holds the key: within its window, or, where asked for, until it has ended.
SELECT k.task_id
  FROM unique_keys AS k
  JOIN task_queue AS t ON t.id = k.task_id
 WHERE k.unique_key = %(key)s
   AND t.status <> 'cancelled'
   AND (k.until_utc > %(now)s
        OR (k.pending AND t.status IN ('scheduled', 'queued', 'claimed', 'processing')))
