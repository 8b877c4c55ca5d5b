SELECT queue, paused_at_utc IS NOT NULL, max_running FROM queues
 WHERE paused_at_utc IS NOT NULL OR max_running IS NOT NULL
