-- Bins as the text that they were written as. Only Python reads into them: JSONB would be put together anew for every
-- reader, which took most of the time of reading a day.
ALTER TABLE :schema.task_stats ALTER COLUMN wait_bins TYPE JSON, ALTER COLUMN run_bins TYPE JSON;
ALTER TABLE :schema.task_stats_deltas ALTER COLUMN wait_bins TYPE JSON, ALTER COLUMN run_bins TYPE JSON;
ALTER TABLE :schema.task_hours ALTER COLUMN wait_bins TYPE JSON, ALTER COLUMN run_bins TYPE JSON;
ALTER TABLE :schema.task_totals ALTER COLUMN wait_bins TYPE JSON, ALTER COLUMN run_bins TYPE JSON;
