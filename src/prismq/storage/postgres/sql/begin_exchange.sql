-- Queues that are paused or limited, and types whose breaker is not closed: both are few, and usually none.
-- And how the rest of the exchange is planned, in the same statement, for an idle worker's first task waits for each:
-- by indexes (see plan_by_index.sql), and once for all, because to plan a claim takes four times as long as to run it.
SELECT queue, paused_at_utc IS NOT NULL, max_running, NULL, NULL FROM queues
 WHERE paused_at_utc IS NOT NULL OR max_running IS NOT NULL
UNION ALL
SELECT NULL, NULL, NULL, type, state = 'half_open' FROM breakers WHERE state <> 'closed'
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL
 WHERE num_nulls(
           set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)) > 0
