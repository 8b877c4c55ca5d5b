-- As one text, for thousands of rows would take longer than all the rest.
SELECT string_agg(nextval('task_queue_id_seq')::text, ',') FROM generate_series(1, %s::int)
