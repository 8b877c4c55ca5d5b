-- Completed too: what a task reports last may come after the end that its own transaction wrote. A lease that ran
-- out reports nothing any more, although its token stays the latest until the next claim.
UPDATE task_queue AS t SET progress = p.text::jsonb
  FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS p (text, id, token)
 WHERE t.id = p.id AND t.fencing_token = p.token AND t.status IN ('processing', 'claimed', 'completed')
