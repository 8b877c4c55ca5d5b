-- An equal revision means: nobody has touched the row since. The status as well: a holder whose start was lost,
-- and who does not know yet, would else take the reaper's change for its own.
UPDATE task_queue AS t
   SET status = 'completed', processing_started_utc = to_timestamp(c.started), finished_at_utc = to_timestamp(c.at),
       updated_at_utc = to_timestamp(c.at), result = c.result::jsonb, lease_until_utc = NULL, error_message = NULL,
       cancel_requested_utc = NULL, revision = t.revision + 1
  FROM unnest(%s::float8[], %s::float8[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
       AS c (started, at, result, id, token, revision, was)
 WHERE t.id = c.id AND t.fencing_token = c.token AND t.revision = c.revision AND t.status = c.was
