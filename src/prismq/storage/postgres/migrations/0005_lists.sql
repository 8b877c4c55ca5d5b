-- The newest of those that wait for a person, one status at a time.
CREATE INDEX ix_task_kept ON :schema.task_queue (status, id) WHERE status IN ('failed', 'dead_letter', 'cancelled');
