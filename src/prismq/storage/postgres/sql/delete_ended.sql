-- What an operator queued again, or changed by hand, since it was looked up stays; so does what somebody holds now.
DELETE FROM task_queue
 WHERE id = ANY (ARRAY (
           SELECT t.id
             FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS seen (id, revision, fencing_token)
             JOIN task_queue AS t ON t.id = seen.id
            WHERE t.revision = seen.revision AND t.fencing_token = seen.fencing_token
              FOR UPDATE OF t SKIP LOCKED))
