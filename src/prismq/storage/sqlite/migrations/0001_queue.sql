-- Tables, indexes, triggers and views of the queue. Times are UTC text, `YYYY-MM-DD HH:MM:SS[.SSS]`.

CREATE TABLE task_queue (
    id                     INTEGER PRIMARY KEY AUTOINCREMENT,
    type                   TEXT NOT NULL,
    queue                  TEXT NOT NULL DEFAULT 'default',
    priority               INTEGER NOT NULL DEFAULT 100 CHECK (typeof(priority) = 'integer'),
    payload                TEXT NOT NULL,
    compatibility          TEXT NOT NULL DEFAULT '{}',
    -- Not IN: of three words or more SQLite builds a table anew for every statement that writes a row, here and
    -- in the conditions of the indexes; it doubled the cost of a completion.
    status                 TEXT NOT NULL DEFAULT 'queued' CHECK (
                               status = 'queued' OR status = 'claimed' OR status = 'completed'
                               OR status = 'processing' OR status = 'scheduled' OR status = 'failed'
                               OR status = 'dead_letter' OR status = 'cancelled'),
    attempts               INTEGER NOT NULL DEFAULT 0 CHECK (typeof(attempts) = 'integer'),
    max_attempts           INTEGER NOT NULL DEFAULT 5 CHECK (typeof(max_attempts) = 'integer'),
    run_after_utc          TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    lease_until_utc        TEXT,
    reserved_at_utc        TEXT,
    processing_started_utc TEXT,
    finished_at_utc        TEXT,
    locked_by              TEXT,
    error_message          TEXT,
    idempotency_key        TEXT,
    created_at_utc         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    updated_at_utc         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    -- Rows are written by hand too: text that is not JSON must not stop the insert.
    region                 TEXT GENERATED ALWAYS AS (
                               CASE WHEN compatibility <> '{}' AND json_valid(compatibility)
                                    THEN json_extract(compatibility, '$.region') END) VIRTUAL,
    format                 TEXT GENERATED ALWAYS AS (
                               CASE WHEN json_valid(payload) THEN json_extract(payload, '$.format') END) VIRTUAL,
    -- What a worker must be able to serve: the type, and the compatibility where there is one.
    route                  TEXT GENERATED ALWAYS AS (
                               CASE WHEN compatibility = '{}' THEN type
                                    ELSE type || char(10) || compatibility END) VIRTUAL,
    tags                   TEXT,
    timeout_seconds        REAL,
    backoff                TEXT,
    retention_seconds      REAL,
    result                 TEXT,
    progress               TEXT,
    headers                TEXT,
    schedule               TEXT,
    crashes                INTEGER NOT NULL DEFAULT 0,
    cancel_requested_utc   TEXT,
    fencing_token          INTEGER NOT NULL DEFAULT 0,
    -- Raised by every statement of ours that changes what the books count; see the triggers.
    revision               INTEGER NOT NULL DEFAULT 0
);

-- The claim: in order of priority, for a whole queue or for one route of it.
CREATE INDEX ix_task_ready ON task_queue (queue, priority, id) WHERE status = 'queued';
CREATE INDEX ix_task_route ON task_queue (queue, route, priority, id) WHERE status = 'queued';
-- Promotion of what has become due.
CREATE INDEX ix_task_due ON task_queue (run_after_utc) WHERE status = 'scheduled';
-- Renewal, reaper, cancellation: the few tasks in someone's hands.
CREATE INDEX ix_task_held ON task_queue (locked_by) WHERE status IN ('claimed', 'processing');
-- Retention, and what ended lately: a task is in one of the two. Then those with a retention of their own.
CREATE INDEX ix_task_finished ON task_queue (finished_at_utc) WHERE status IN ('completed', 'cancelled');
CREATE INDEX ix_task_keep_until ON task_queue (julianday(finished_at_utc) + retention_seconds / 86400.0)
    WHERE retention_seconds IS NOT NULL;
CREATE INDEX ix_task_failures ON task_queue (finished_at_utc) WHERE status IN ('failed', 'dead_letter');
-- Whole indexes over the status would be rewritten three times in the life of each task and serve no query
-- of ours; over the tasks that wait for a person they serve the lists and the bulk actions.
CREATE INDEX ix_task_status_prio_time ON task_queue (status, priority, run_after_utc, id)
    WHERE status = 'failed' OR status = 'dead_letter' OR status = 'cancelled';
CREATE INDEX ix_task_type_status ON task_queue (type, status)
    WHERE status = 'failed' OR status = 'dead_letter' OR status = 'cancelled';
CREATE INDEX ix_task_region ON task_queue (region) WHERE region IS NOT NULL;
CREATE INDEX ix_task_format ON task_queue (format) WHERE format IS NOT NULL;
CREATE UNIQUE INDEX uq_task_idempotency ON task_queue (idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE unique_keys (
    unique_key TEXT PRIMARY KEY,
    task_id    INTEGER NOT NULL REFERENCES task_queue (id) ON DELETE CASCADE,
    until_utc  TEXT NOT NULL,
    pending    INTEGER NOT NULL DEFAULT 0  -- 1: held until the task has ended, too
) WITHOUT ROWID;
CREATE INDEX ix_unique_task ON unique_keys (task_id);
CREATE INDEX ix_unique_until ON unique_keys (until_utc) WHERE pending = 0;

CREATE TABLE task_attempts (
    task_id         INTEGER NOT NULL REFERENCES task_queue (id) ON DELETE CASCADE,
    fencing_token   INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    outcome         TEXT NOT NULL,
    worker_id       TEXT,
    reserved_at_utc TEXT,
    started_at_utc  TEXT,
    finished_at_utc TEXT,
    error_type      TEXT,
    error_message   TEXT,
    traceback       TEXT,
    retry_at_utc    TEXT,
    PRIMARY KEY (task_id, fencing_token)
);

CREATE TABLE task_logs (
    log_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES task_queue (id) ON DELETE CASCADE,
    at_utc  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    level   TEXT NOT NULL DEFAULT 'INFO',
    message TEXT,
    details TEXT,
    attempt INTEGER
);
CREATE INDEX ix_logs_task ON task_logs (task_id, at_utc);
-- The newest of a level. Not DEBUG: every task writes such lines, and the newest of them are the newest of all.
CREATE INDEX ix_logs_level ON task_logs (level, log_id) WHERE level <> 'DEBUG';

-- The spans of an attempt that was traced, for a waterfall without a collector.
CREATE TABLE task_spans (
    task_id       INTEGER NOT NULL REFERENCES task_queue (id) ON DELETE CASCADE,
    fencing_token INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    trace_id      TEXT NOT NULL,
    spans         TEXT NOT NULL,  -- JSON: a list of {id, parent, name, start, duration_s, status, attributes}
    PRIMARY KEY (task_id, fencing_token)
);

CREATE TABLE workers (
    worker_id      TEXT PRIMARY KEY,
    capabilities   TEXT NOT NULL DEFAULT '{}',
    heartbeat_utc  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    status         TEXT NOT NULL DEFAULT 'active',
    hostname       TEXT,
    pid            INTEGER,
    supervisor_id  TEXT,
    queues         TEXT,
    types          TEXT,
    strategy       TEXT,
    version        TEXT,
    slots          INTEGER NOT NULL DEFAULT 0,
    busy           INTEGER NOT NULL DEFAULT 0,
    held           INTEGER NOT NULL DEFAULT 0,
    started_at_utc TEXT,
    stopped_at_utc TEXT,
    last_claim_utc TEXT,
    last_look_utc  TEXT,
    restarts       INTEGER NOT NULL DEFAULT 0,
    completed      INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    retried        INTEGER NOT NULL DEFAULT 0,
    run_s          REAL NOT NULL DEFAULT 0,  -- of all its attempts that ended
    cpu_percent    REAL,
    memory_bytes   INTEGER,
    hint_port      INTEGER,
    note           TEXT
);

CREATE TABLE worker_commands (
    command_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    worker_id    TEXT NOT NULL,
    command      TEXT NOT NULL,
    argument     INTEGER,
    asked_by     TEXT,
    asked_at_utc TEXT NOT NULL,
    taken_at_utc TEXT
);
CREATE INDEX ix_commands_waiting ON worker_commands (worker_id) WHERE taken_at_utc IS NULL;

CREATE TABLE queues (
    queue         TEXT PRIMARY KEY,
    paused_at_utc TEXT,
    paused_by     TEXT,
    max_running   INTEGER
) WITHOUT ROWID;

CREATE TABLE schedules (
    schedule       TEXT PRIMARY KEY,
    expression     TEXT NOT NULL,
    timezone       TEXT NOT NULL DEFAULT 'UTC',
    missed         TEXT NOT NULL DEFAULT 'latest',
    template       TEXT NOT NULL,  -- JSON: the options and the payload of each task
    last_slot_utc  TEXT NOT NULL,
    last_task_id   INTEGER,
    paused_at_utc  TEXT,
    updated_at_utc TEXT NOT NULL
) WITHOUT ROWID;

-- Who may use the HTTP API. The token is never kept, only its SHA-256; one that is revoked is deleted.
CREATE TABLE api_tokens (
    token_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name             TEXT NOT NULL UNIQUE,
    role             TEXT NOT NULL,
    token_hash       TEXT NOT NULL,
    hint             TEXT NOT NULL,  -- its first characters, so that people can tell tokens apart
    created_at_utc   TEXT NOT NULL,
    created_by       TEXT NOT NULL,
    expires_at_utc   TEXT,
    last_used_at_utc TEXT
);
CREATE INDEX ix_tokens_hash ON api_tokens (token_hash);

-- Signed-in browsers. A session ends with its token, too.
CREATE TABLE sessions (
    session_hash   TEXT PRIMARY KEY,
    token_id       INTEGER NOT NULL,
    created_at_utc TEXT NOT NULL,
    expires_at_utc TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit_log (
    entry_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    at_utc     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    via        TEXT NOT NULL,  -- token, session, open or cli
    origin     TEXT,           -- the address it came from
    action     TEXT NOT NULL,  -- such as tasks.cancel
    target     TEXT,           -- a task's id, or a name
    conditions TEXT NOT NULL DEFAULT '{}',  -- JSON: the filter of a bulk action
    tasks      INTEGER         -- how many it changed
);

-- The books: counts are kept, not counted. They cover the tasks with id <= booked_id; whoever changes tasks
-- first books the rows above it, so that an insert costs nothing extra.
CREATE TABLE books (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    booked_id  INTEGER NOT NULL,
    hours_from TEXT NOT NULL DEFAULT ''  -- task_hours has every hour from here on
);
INSERT INTO books (one, booked_id) VALUES (1, 0);

CREATE TABLE queue_depth (
    queue  TEXT NOT NULL,
    type   TEXT NOT NULL,
    status TEXT NOT NULL,
    band   TEXT NOT NULL,  -- high: priority < 100, normal: 100, low: > 100
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (queue, type, status, band)
) WITHOUT ROWID;

CREATE TABLE task_stats (
    slot_utc  TEXT NOT NULL,
    span_s    INTEGER NOT NULL,
    queue     TEXT NOT NULL,
    type      TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    tasks     INTEGER NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,  -- sum over the tasks that ended
    retried   INTEGER NOT NULL DEFAULT 0,  -- of those, how many needed more than one
    wait_s    REAL NOT NULL DEFAULT 0,
    run_s     REAL NOT NULL DEFAULT 0,
    wait_bins TEXT,                        -- JSON {bin: count}, log-spaced; see domain/sketch.py
    run_bins  TEXT,
    totalled  INTEGER NOT NULL DEFAULT 0,  -- 1: task_totals has it, too
    PRIMARY KEY (span_s, slot_utc, queue, type, outcome, totalled)
);
CREATE INDEX ix_stats_untotalled ON task_stats (totalled) WHERE totalled = 0;

-- The hours of the last two weeks, whatever slots task_stats has of them, but for what is not totalled yet: a day is
-- read as 24 slots and not as hundreds.
CREATE TABLE task_hours (
    slot_utc  TEXT NOT NULL,
    queue     TEXT NOT NULL,
    type      TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    tasks     INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    retried   INTEGER NOT NULL,
    wait_s    REAL NOT NULL,
    run_s     REAL NOT NULL,
    wait_bins TEXT,
    run_bins  TEXT,
    PRIMARY KEY (slot_utc, queue, type, outcome)
);

-- The same since the beginning, but for the newest minutes, which are not in it yet. Statistics are merged and
-- dropped with age; these only grow. Whole microseconds, because sums of floats depend on the order of adding.
CREATE TABLE task_totals (
    total_id  INTEGER PRIMARY KEY,  -- in the order in which they were first booked
    queue     TEXT NOT NULL,
    type      TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    tasks     INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    retried   INTEGER NOT NULL,
    wait_us   INTEGER NOT NULL,
    run_us    INTEGER NOT NULL,
    wait_bins TEXT,
    run_bins  TEXT,
    UNIQUE (queue, type, outcome)
);

-- Tasks that were ended by hand, until they are booked in task_stats: a SQL tool cannot merge bins.
CREATE TABLE ends_by_hand (
    end_id          INTEGER PRIMARY KEY,
    queue           TEXT NOT NULL,
    type            TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    used_up         INTEGER NOT NULL,  -- 1: it failed with no attempt left
    finished_at_utc TEXT,              -- NULL: nobody knows when, so no window holds it
    run_s           REAL,
    worker_id       TEXT               -- who ended it, where that is new
);

-- What was ended by hand in the name of each worker; `workers` has what workers report of themselves.
CREATE TABLE ends_by_worker (
    worker_id TEXT PRIMARY KEY,
    completed INTEGER NOT NULL,
    failed    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER tr_ended_by_hand
AFTER INSERT ON ends_by_hand
WHEN NEW.worker_id IS NOT NULL AND NEW.outcome <> 'cancelled'
BEGIN
    INSERT INTO ends_by_worker (worker_id, completed, failed)
    VALUES (NEW.worker_id, NEW.outcome = 'completed', NEW.outcome <> 'completed')
    ON CONFLICT DO UPDATE SET completed = completed + excluded.completed, failed = failed + excluded.failed;
END;

-- A row that comes in ended was written by hand, or moved here: those that were booked where they come from have a
-- revision, and after this all have.
CREATE TRIGGER tr_task_inserted_ended
AFTER INSERT ON task_queue
WHEN NEW.status <> 'queued' AND NEW.revision = 0
 AND (NEW.status = 'completed' OR NEW.status = 'failed' OR NEW.status = 'dead_letter' OR NEW.status = 'cancelled')
BEGIN
    UPDATE task_queue SET revision = revision + 1 WHERE id = NEW.id;
    INSERT INTO ends_by_hand (queue, type, outcome, attempts, used_up, finished_at_utc, run_s, worker_id)
    VALUES (NEW.queue, NEW.type, NEW.status, NEW.attempts,
            NEW.status = 'failed' AND NEW.attempts >= NEW.max_attempts,
            strftime('%Y-%m-%d %H:%M:%f', NEW.finished_at_utc),
            round((julianday(NEW.finished_at_utc) - julianday(NEW.processing_started_utc)) * 86400, 3),
            NEW.locked_by);
END;

-- Rows changed by hand: our own statements raise `revision`, so an equal one is somebody else's.
CREATE TRIGGER tr_task_changed_by_hand
AFTER UPDATE OF status, queue, type, priority, run_after_utc, finished_at_utc ON task_queue
WHEN NEW.revision = OLD.revision
BEGIN
    -- An end is booked once: when the row is ended and says when. A time that is mended later changes nothing.
    INSERT INTO ends_by_hand (queue, type, outcome, attempts, used_up, finished_at_utc, run_s, worker_id)
    SELECT NEW.queue, NEW.type, NEW.status, NEW.attempts,
           NEW.status = 'failed' AND NEW.attempts >= NEW.max_attempts,
           strftime('%Y-%m-%d %H:%M:%f', NEW.finished_at_utc),
           round((julianday(NEW.finished_at_utc) - julianday(NEW.processing_started_utc)) * 86400, 3),
           CASE WHEN OLD.status NOT IN ('completed', 'failed', 'dead_letter', 'cancelled') THEN NEW.locked_by END
     WHERE NEW.status IN ('completed', 'failed', 'dead_letter', 'cancelled')
       AND (OLD.status NOT IN ('completed', 'failed', 'dead_letter', 'cancelled')
            OR OLD.finished_at_utc IS NULL AND NEW.finished_at_utc IS NOT NULL);
    UPDATE task_queue
       SET revision = revision + 1,
           updated_at_utc = strftime('%Y-%m-%d %H:%M:%f', 'now'),
           -- A time in ISO form does not compare with ours.
           run_after_utc = coalesce(strftime('%Y-%m-%d %H:%M:%f', NEW.run_after_utc), NEW.run_after_utc),
           status = CASE WHEN NEW.status = 'queued'
                          AND coalesce(strftime('%Y-%m-%d %H:%M:%f', NEW.run_after_utc), NEW.run_after_utc)
                              > strftime('%Y-%m-%d %H:%M:%f', 'now')
                         THEN 'scheduled' ELSE NEW.status END
     WHERE id = NEW.id;
    INSERT INTO queue_depth (queue, type, status, band, tasks)
    SELECT OLD.queue, OLD.type, OLD.status,
           CASE WHEN OLD.priority < 100 THEN 'high' WHEN OLD.priority = 100 THEN 'normal' ELSE 'low' END, -1
     WHERE OLD.id <= (SELECT booked_id FROM books)
    ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks;
    INSERT INTO queue_depth (queue, type, status, band, tasks)
    SELECT queue, type, status,
           CASE WHEN priority < 100 THEN 'high' WHEN priority = 100 THEN 'normal' ELSE 'low' END, 1
      FROM task_queue
     WHERE id = NEW.id AND id <= (SELECT booked_id FROM books)
    ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks;
END;

-- A row inserted by hand under an id that is free again: it is not above the booked ones, so it is booked here,
-- and mended as a change by hand is.
CREATE TRIGGER tr_task_inserted_below
AFTER INSERT ON task_queue
WHEN NEW.id <= (SELECT booked_id FROM books)
BEGIN
    INSERT INTO queue_depth (queue, type, status, band, tasks)
    VALUES (NEW.queue, NEW.type, NEW.status,
            CASE WHEN NEW.priority < 100 THEN 'high' WHEN NEW.priority = 100 THEN 'normal' ELSE 'low' END, 1)
    ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks;
    UPDATE task_queue SET run_after_utc = run_after_utc WHERE id = NEW.id;
END;

-- Deletions are few and in small batches, ours too: one rule for all of them.
CREATE TRIGGER tr_task_deleted
AFTER DELETE ON task_queue
WHEN OLD.id <= (SELECT booked_id FROM books)
BEGIN
    INSERT INTO queue_depth (queue, type, status, band, tasks)
    VALUES (OLD.queue, OLD.type, OLD.status,
            CASE WHEN OLD.priority < 100 THEN 'high' WHEN OLD.priority = 100 THEN 'normal' ELSE 'low' END, -1)
    ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks;
END;

CREATE VIEW v_queue_status_summary AS
SELECT status, COUNT(*) AS task_count, AVG(attempts) AS avg_attempts,
       MIN(created_at_utc) AS oldest_task, MAX(created_at_utc) AS newest_task
  FROM task_queue
 GROUP BY status;

CREATE VIEW v_queue_type_summary AS
SELECT type, status, COUNT(*) AS task_count, AVG(priority) AS avg_priority
  FROM task_queue
 GROUP BY type, status;

-- The condition twice: the first is the index's own, and only then is the index used.
CREATE VIEW v_worker_status AS
SELECT w.worker_id, w.capabilities, w.heartbeat_utc, COUNT(t.id) AS active_tasks,
       ROUND((JULIANDAY('now') - JULIANDAY(w.heartbeat_utc)) * 86400) AS seconds_since_heartbeat
  FROM workers w
  LEFT JOIN task_queue t
    ON t.locked_by = w.worker_id AND t.status IN ('claimed', 'processing') AND t.status = 'processing'
 GROUP BY w.worker_id;

CREATE VIEW v_task_performance AS
SELECT type, status, COUNT(*) AS task_count,
       AVG(JULIANDAY(finished_at_utc) - JULIANDAY(processing_started_utc)) * 86400 AS avg_processing_seconds,
       AVG(attempts) AS avg_attempts
  FROM task_queue
 WHERE finished_at_utc IS NOT NULL
 GROUP BY type, status;

CREATE VIEW v_recent_failures AS
SELECT id, type, status, attempts, error_message, finished_at_utc
  FROM task_queue
 WHERE status IN ('failed', 'dead_letter')
 ORDER BY finished_at_utc DESC
 LIMIT 100;
