-- What the worker says of itself otherwise stays. One that had ended works again.
INSERT INTO workers (worker_id, capabilities, heartbeat_utc, started_at_utc) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT (worker_id) DO UPDATE
   SET capabilities = excluded.capabilities, heartbeat_utc = excluded.heartbeat_utc, stopped_at_utc = NULL,
       status = CASE WHEN status = 'stopped' OR status = 'lost' THEN 'active' ELSE status END
