-- What is put right without anybody's doing.

-- The circuit breaker of a task type. Claims look at those that are not closed, with the paused queues.
CREATE TABLE :schema.breakers (
    type          TEXT PRIMARY KEY,
    state         TEXT NOT NULL CHECK (state IN ('closed', 'open', 'half_open', 'probing')),
    since_utc     TIMESTAMPTZ NOT NULL,
    reason        TEXT NOT NULL DEFAULT '',
    changed_by    TEXT NOT NULL DEFAULT '',
    opened_at_utc TIMESTAMPTZ,
    trips         INTEGER NOT NULL DEFAULT 0,  -- how often it opened in a row
    probe_at_utc  TIMESTAMPTZ,                 -- when it is tried next; NULL while open: when somebody closes it
    probe_task_id BIGINT                       -- the task that is tried
);
CREATE INDEX ix_breaker_shut ON :schema.breakers (type, state) WHERE state <> 'closed';

-- How often each act happened since the queue was made; what each was is in audit_log.
CREATE TABLE :schema.remediation_totals (
    act      TEXT PRIMARY KEY,
    times    BIGINT NOT NULL,
    tasks    BIGINT NOT NULL,
    last_utc TIMESTAMPTZ NOT NULL
);
