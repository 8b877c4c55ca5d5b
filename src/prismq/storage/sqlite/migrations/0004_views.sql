-- The two views that count all tasks take their counts from the books, and the rows above them. What the books do not
-- have is worked out from the table, once, and only where a statement asks for such a column.

DROP VIEW v_queue_status_summary;

CREATE VIEW v_queue_status_summary AS
WITH seen AS MATERIALIZED (
    SELECT status, AVG(attempts) AS avg_attempts, MIN(created_at_utc) AS oldest_task, MAX(created_at_utc) AS newest_task
      FROM task_queue
     GROUP BY status)
SELECT kept.status, kept.task_count,
       (SELECT seen.avg_attempts FROM seen WHERE seen.status = kept.status) AS avg_attempts,
       (SELECT seen.oldest_task FROM seen WHERE seen.status = kept.status) AS oldest_task,
       (SELECT seen.newest_task FROM seen WHERE seen.status = kept.status) AS newest_task
  FROM (SELECT status, SUM(tasks) AS task_count
          FROM (SELECT status, tasks FROM queue_depth
                UNION ALL
                SELECT status, 1 FROM task_queue WHERE id > (SELECT booked_id FROM books))
         GROUP BY status
        HAVING SUM(tasks) <> 0) AS kept;

DROP VIEW v_queue_type_summary;

-- Where all priorities of a type and status are 100, which is what most queues have, their average needs no look.
CREATE VIEW v_queue_type_summary AS
WITH seen AS MATERIALIZED (
    SELECT type, status, AVG(priority) AS avg_priority
      FROM task_queue
     GROUP BY type, status)
SELECT kept.type, kept.status, kept.task_count,
       CASE WHEN kept.others = 0 THEN 100.0
            ELSE (SELECT seen.avg_priority FROM seen WHERE seen.type = kept.type AND seen.status = kept.status)
       END AS avg_priority
  FROM (SELECT type, status, SUM(tasks) AS task_count, SUM(CASE WHEN band = 'normal' THEN 0 ELSE tasks END) AS others
          FROM (SELECT type, status, band, tasks FROM queue_depth
                UNION ALL
                SELECT type, status, CASE WHEN priority = 100 THEN 'normal' ELSE 'other' END, 1
                  FROM task_queue
                 WHERE id > (SELECT booked_id FROM books))
         GROUP BY type, status
        HAVING SUM(tasks) <> 0) AS kept;
