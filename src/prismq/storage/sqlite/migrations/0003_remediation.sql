-- What is put right without anybody's doing.

-- The circuit breaker of a task type. Claims look at those that are not closed, with the paused queues.
CREATE TABLE breakers (
    type          TEXT PRIMARY KEY,
    state         TEXT NOT NULL CHECK (state = 'closed' OR state = 'open' OR state = 'half_open' OR state = 'probing'),
    since_utc     TEXT NOT NULL,
    reason        TEXT NOT NULL DEFAULT '',
    changed_by    TEXT NOT NULL DEFAULT '',
    opened_at_utc TEXT,
    trips         INTEGER NOT NULL DEFAULT 0,  -- how often it opened in a row
    probe_at_utc  TEXT,                        -- when it is tried next; NULL while open: when somebody closes it
    probe_task_id INTEGER                      -- the task that is tried
) WITHOUT ROWID;
CREATE INDEX ix_breaker_shut ON breakers (type, state) WHERE state <> 'closed';

-- How often each act happened since the queue was made; what each was is in audit_log.
CREATE TABLE remediation_totals (
    act      TEXT PRIMARY KEY,
    times    INTEGER NOT NULL,
    tasks    INTEGER NOT NULL,
    last_utc TEXT NOT NULL
) WITHOUT ROWID;
