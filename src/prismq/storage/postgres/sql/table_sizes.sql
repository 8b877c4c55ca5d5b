-- Dead rows are the server's own estimate; what they take is free once it has vacuumed.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, current_setting('block_size')::int,
       coalesce(sum(pg_relation_size(c.oid) * n_dead_tup / greatest(n_live_tup + n_dead_tup, 1)), 0)::bigint
  FROM pg_class AS c
  JOIN pg_stat_all_tables AS s ON s.relid = c.oid
 WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'
