-- Of the schema that the queue lies in: a database may hold much else.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
  FROM pg_class AS c
 WHERE c.relkind = 'r'
   AND c.relnamespace = (SELECT q.relnamespace FROM pg_class AS q WHERE q.oid = 'task_queue'::regclass)
