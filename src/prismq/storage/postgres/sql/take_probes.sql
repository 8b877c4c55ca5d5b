-- The tasks that this claim took of types whose breaker is half open; where it got none, the breaker stays as it is.
UPDATE breakers AS b
   SET state = 'probing', since_utc = %(now)s, probe_task_id = t.id
  FROM (SELECT DISTINCT ON (type) type, id FROM task_queue
         WHERE locked_by = %(worker)s AND status = 'claimed' AND type = ANY (%(types)s) AND lease_until_utc = %(until)s
           AND reserved_at_utc = %(now)s
         ORDER BY type, id) AS t
 WHERE b.type = t.type AND b.state = 'half_open'
