-- Queues that are paused or limited, and types whose breaker is not closed: both are few, and usually none.
SELECT queue, paused_at_utc IS NOT NULL, max_running, NULL, NULL FROM queues
 WHERE paused_at_utc IS NOT NULL OR max_running IS NOT NULL
UNION ALL
SELECT NULL, NULL, NULL, type, state = 'half_open' FROM breakers WHERE state <> 'closed'
