INSERT INTO queue_depth (queue, type, status, band, tasks) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks
