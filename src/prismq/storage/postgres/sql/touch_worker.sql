-- What the worker says of itself otherwise stays. One that had ended works again.
INSERT INTO workers AS w (worker_id, capabilities, heartbeat_utc, started_at_utc)
VALUES (%(worker_id)s, %(capabilities)s, %(now)s, %(now)s)
ON CONFLICT (worker_id) DO UPDATE
   SET capabilities = excluded.capabilities, heartbeat_utc = excluded.heartbeat_utc, stopped_at_utc = NULL,
       status = CASE WHEN w.status IN ('stopped', 'lost') THEN 'active' ELSE w.status END
