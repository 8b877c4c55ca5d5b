-- What the books ought to say: a count of every task that they cover. Slow, and right whatever they say.
SELECT queue, type, status,
       CASE WHEN priority < 100 THEN 'high' WHEN priority = 100 THEN 'normal' ELSE 'low' END,
       count(*)
  FROM task_queue
 WHERE id <= (SELECT booked_id FROM books)
 GROUP BY 1, 2, 3, 4
