INSERT INTO queues (queue, max_running) VALUES (%s, %s)
ON CONFLICT (queue) DO UPDATE SET max_running = excluded.max_running
