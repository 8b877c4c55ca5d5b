-- The last of the next rows above the booked ones.
SELECT max(id) FROM (SELECT id FROM task_queue WHERE id > ?1 ORDER BY id LIMIT ?2)
