-- Every other end of an attempt. A task that waits again has nobody's name on it.
UPDATE task_queue AS t
   SET status = s.to_status,
       processing_started_utc = to_timestamp(s.started),
       finished_at_utc = CASE WHEN s.to_status IN ('queued', 'scheduled') THEN NULL ELSE to_timestamp(s.at) END,
       updated_at_utc = to_timestamp(s.at),
       run_after_utc = coalesce(to_timestamp(s.run_after), t.run_after_utc),
       error_message = coalesce(s.message, CASE WHEN s.to_status = 'cancelled' THEN t.error_message END),
       attempts = t.attempts - s.given_back,
       locked_by = CASE WHEN s.to_status IN ('queued', 'scheduled') THEN NULL ELSE t.locked_by END,
       lease_until_utc = NULL,
       cancel_requested_utc = NULL,
       revision = t.revision + 1
  FROM unnest(%s::text[], %s::float8[], %s::float8[], %s::float8[], %s::text[], %s::int[], %s::bigint[], %s::bigint[],
              %s::bigint[], %s::text[])
       AS s (to_status, started, at, run_after, message, given_back, id, token, revision, was)
 WHERE t.id = s.id AND t.fencing_token = s.token AND t.revision = s.revision AND t.status = s.was
