-- The newest of those that wait for a person, one status at a time: the id comes with every entry of an index.
CREATE INDEX ix_task_kept ON task_queue (status) WHERE status = 'failed' OR status = 'dead_letter' OR status = 'cancelled';
