WITH RECURSIVE ready(priority) AS (
    SELECT min(priority) FROM task_queue WHERE status = 'queued' AND queue = ?1
    UNION ALL
    SELECT (SELECT min(t.priority) FROM task_queue AS t
             WHERE t.status = 'queued' AND t.queue = ?1 AND t.priority > ready.priority)
      FROM ready
     WHERE ready.priority IS NOT NULL
)
SELECT priority FROM ready WHERE priority IS NOT NULL
