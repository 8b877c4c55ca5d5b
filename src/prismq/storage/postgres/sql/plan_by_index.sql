-- What was true of the queue when its statistics were taken may be true no more, and a plan that sorts what is queued,
-- or reads the table, would then be kept. Of indexes in the right order no more is read than is asked for.
SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
