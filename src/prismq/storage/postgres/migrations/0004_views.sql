-- The hours of the last two weeks, whatever slots task_stats has of them: a day is read as 24 slots and not as hundreds.
-- Folding adds to both.
CREATE TABLE :schema.task_hours (
    slot_utc  TIMESTAMPTZ NOT NULL,
    queue     TEXT NOT NULL,
    type      TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    tasks     BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    retried   BIGINT NOT NULL,
    wait_s    DOUBLE PRECISION NOT NULL,
    run_s     DOUBLE PRECISION NOT NULL,
    wait_bins JSONB,
    run_bins  JSONB,
    PRIMARY KEY (slot_utc, queue, type, outcome)
) WITH (
    -- The rows of the present hour are written again with every folding.
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500
);

CREATE TABLE :schema.books (
    one        BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    hours_from TIMESTAMPTZ NOT NULL  -- task_hours has every hour from here on
);
-- What was folded before is in task_stats alone, and so is what workers of before fold until they end.
INSERT INTO :schema.books (hours_from)
SELECT coalesce(date_trunc('hour', max(slot_utc), 'UTC') + interval '2 hours', '-infinity') FROM :schema.task_stats;

-- The two views that count all tasks take their counts from the books. What the books do not have is worked out from
-- the table, once, and only where a statement asks for such a column.
CREATE OR REPLACE VIEW :schema.v_queue_status_summary AS
WITH seen AS MATERIALIZED (
    SELECT status, avg(attempts) AS avg_attempts, min(created_at_utc) AS oldest_task, max(created_at_utc) AS newest_task
      FROM :schema.task_queue
     GROUP BY status)
SELECT kept.status, kept.task_count,
       (SELECT seen.avg_attempts FROM seen WHERE seen.status = kept.status) AS avg_attempts,
       (SELECT seen.oldest_task FROM seen WHERE seen.status = kept.status) AS oldest_task,
       (SELECT seen.newest_task FROM seen WHERE seen.status = kept.status) AS newest_task
  FROM (SELECT status, sum(tasks)::bigint AS task_count
          FROM (SELECT status, tasks FROM :schema.queue_depth
                UNION ALL
                SELECT status, tasks FROM :schema.queue_depth_deltas) AS both_tables
         GROUP BY status
        HAVING sum(tasks) <> 0) AS kept;

-- Where all priorities of a type and status are 100, which is what most queues have, their average needs no look.
CREATE OR REPLACE VIEW :schema.v_queue_type_summary AS
WITH seen AS MATERIALIZED (
    SELECT type, status, avg(priority) AS avg_priority
      FROM :schema.task_queue
     GROUP BY type, status)
SELECT kept.type, kept.status, kept.task_count,
       CASE WHEN kept.others = 0 THEN 100::numeric
            ELSE (SELECT seen.avg_priority FROM seen WHERE seen.type = kept.type AND seen.status = kept.status)
       END AS avg_priority
  FROM (SELECT type, status, sum(tasks)::bigint AS task_count,
               coalesce(sum(tasks) FILTER (WHERE band <> 'normal'), 0) AS others
          FROM (SELECT type, status, band, tasks FROM :schema.queue_depth
                UNION ALL
                SELECT type, status, band, tasks FROM :schema.queue_depth_deltas) AS both_tables
         GROUP BY type, status
        HAVING sum(tasks) <> 0) AS kept;
