-- A loose index scan: one look-up a queue, however many tasks each holds.
WITH RECURSIVE ready(queue) AS (
    SELECT min(queue) FROM task_queue WHERE status = 'queued'
    UNION ALL
    SELECT (SELECT min(t.queue) FROM task_queue AS t WHERE t.status = 'queued' AND t.queue > ready.queue)
      FROM ready
     WHERE ready.queue IS NOT NULL
)
SELECT queue FROM ready WHERE queue IS NOT NULL
