UPDATE task_queue AS t
   SET status = r.status,
       attempts = t.attempts - r.innocent::int,
       crashes = t.crashes + (NOT r.innocent)::int,
       locked_by = NULL, lease_until_utc = NULL, cancel_requested_utc = NULL,
       processing_started_utc = CASE WHEN r.status <> 'queued' THEN t.processing_started_utc END,
       finished_at_utc = CASE WHEN r.status <> 'queued' THEN %(now)s::timestamptz END,
       updated_at_utc = %(now)s,
       error_message = coalesce(r.message, t.error_message),
       revision = t.revision + 1
  FROM unnest(%(ids)s::bigint[], %(statuses)s::text[], %(innocent)s::boolean[], %(errors)s::text[])
       AS r (id, status, innocent, message)
 WHERE t.id = r.id
