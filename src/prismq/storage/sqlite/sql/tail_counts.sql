-- New rows, counted once. The last column finds rows written by hand that want mending first:
-- queued although their time has not come, or a time in ISO form, which does not compare with ours.
SELECT queue, type, status,
       CASE WHEN priority < 100 THEN 'high' WHEN priority = 100 THEN 'normal' ELSE 'low' END AS band,
       replace(substr(created_at_utc, 1, 16), 'T', ' ') || ':00' AS slot,
       count(*),
       sum((status = 'queued' AND run_after_utc > ?3) OR substr(run_after_utc, 11) GLOB '*[-+A-Za-z]*')
  FROM task_queue
 WHERE id > ?1 AND id <= ?2
 GROUP BY 1, 2, 3, 4, 5
