-- Strange times stay as they are where SQLite cannot read them either.
UPDATE task_queue
   SET revision = revision + 1,
       run_after_utc = coalesce(strftime('%Y-%m-%d %H:%M:%f', run_after_utc), run_after_utc),
       status = CASE WHEN status = 'queued'
                      AND coalesce(strftime('%Y-%m-%d %H:%M:%f', run_after_utc), run_after_utc) > ?3
                     THEN 'scheduled' ELSE status END
 WHERE id > ?1 AND id <= ?2
   AND ((status = 'queued' AND run_after_utc > ?3) OR substr(run_after_utc, 11) GLOB '*[-+A-Za-z]*')
