-- What is booked, and the highest id that was ever given out.
SELECT booked_id, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'task_queue'), 0) FROM books
