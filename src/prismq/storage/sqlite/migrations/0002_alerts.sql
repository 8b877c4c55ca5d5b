-- Alerts, who was told of them, and the samples of service levels that the books do not hold.

CREATE TABLE duties (
    duty      TEXT PRIMARY KEY,
    holder    TEXT NOT NULL,
    rank      INTEGER NOT NULL DEFAULT 0,
    since_utc TEXT NOT NULL,
    until_utc TEXT NOT NULL
) WITHOUT ROWID;

-- One row for each time that an alert was pending, fired and was resolved.
CREATE TABLE alerts (
    alert_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    rule             TEXT NOT NULL,
    labels           TEXT NOT NULL DEFAULT '{}',  -- JSON, keys in order
    severity         TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state = 'pending' OR state = 'firing' OR state = 'resolved'),
    value            REAL,
    threshold        REAL,
    summary          TEXT NOT NULL DEFAULT '',
    description      TEXT NOT NULL DEFAULT '',
    since_utc        TEXT NOT NULL,
    seen_utc         TEXT NOT NULL,  -- when it was last looked at
    clear_since_utc  TEXT,           -- since when its figure has been fine again
    fired_at_utc     TEXT,
    resolved_at_utc  TEXT,
    notified_at_utc  TEXT,
    escalated_at_utc TEXT,
    told             TEXT NOT NULL DEFAULT '[]',  -- JSON: the channels that have to hear of the end, too
    acked_at_utc     TEXT,
    acked_by         TEXT,
    ack_note         TEXT
);
CREATE INDEX ix_alert_open ON alerts (alert_id) WHERE state <> 'resolved';
CREATE INDEX ix_alert_resolved ON alerts (resolved_at_utc) WHERE state = 'resolved';

-- What has to be said to whom: written with the change of the alert's state, and done when it was delivered.
CREATE TABLE alert_notices (
    notice_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id       INTEGER NOT NULL,
    channel        TEXT NOT NULL,
    kind           TEXT NOT NULL,  -- firing, repeat, escalation or resolved
    content        TEXT NOT NULL,  -- JSON: the alert as it was
    created_at_utc TEXT NOT NULL,
    due_utc        TEXT NOT NULL,
    tries          INTEGER NOT NULL DEFAULT 0,
    error          TEXT,
    done_at_utc    TEXT,
    given_up       INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ix_notice_due ON alert_notices (due_utc) WHERE done_at_utc IS NULL;
CREATE INDEX ix_notice_alert ON alert_notices (alert_id);
CREATE INDEX ix_notice_done ON alert_notices (done_at_utc) WHERE done_at_utc IS NOT NULL;

CREATE TABLE alert_channels (
    channel           TEXT PRIMARY KEY,
    delivered_at_utc  TEXT,
    failing_since_utc TEXT,
    error             TEXT
) WITHOUT ROWID;

CREATE TABLE alert_silences (
    silence_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers       TEXT NOT NULL,  -- JSON: label -> value, a pattern with * where it has one
    starts_utc     TEXT NOT NULL,
    until_utc      TEXT NOT NULL,
    created_by     TEXT NOT NULL,
    created_at_utc TEXT NOT NULL,
    reason         TEXT NOT NULL DEFAULT ''
);

CREATE TABLE canaries (
    queue             TEXT PRIMARY KEY,
    task_id           INTEGER NOT NULL,
    enqueued_at_utc   TEXT NOT NULL,
    done_at_utc       TEXT,  -- of the last one that was completed
    took_s            REAL,  -- that one, from enqueue to end
    waiting_since_utc TEXT   -- since when none has been completed in time
) WITHOUT ROWID;

CREATE TABLE service_samples (
    series   TEXT NOT NULL,
    span_s   INTEGER NOT NULL,
    slot_utc TEXT NOT NULL,
    good     REAL NOT NULL,
    total    REAL NOT NULL,
    PRIMARY KEY (series, span_s, slot_utc)
) WITHOUT ROWID;
