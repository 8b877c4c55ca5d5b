-- The status with nothing added to it fits no index; see set_results.sql.
UPDATE task_queue AS t
   SET status = 'processing', processing_started_utc = to_timestamp(s.at), updated_at_utc = to_timestamp(s.at),
       revision = t.revision + 1
  FROM unnest(%s::float8[], %s::bigint[], %s::bigint[], %s::bigint[]) AS s (at, id, token, revision)
 WHERE t.id = s.id AND t.fencing_token = s.token AND t.revision = s.revision AND t.status || '' = 'claimed'
