-- Dead rows are the server's own estimate; what they take is free once it has vacuumed.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, current_setting('block_size')::int,
       coalesce(sum(CASE WHEN rows.dead > 0
                         THEN pg_relation_size(c.oid)::numeric * rows.dead / (rows.live + rows.dead) END), 0)::bigint,
       has_function_privilege('pg_ls_waldir()', 'execute')
  FROM pg_class AS c
 CROSS JOIN LATERAL (SELECT pg_stat_get_dead_tuples(c.oid) AS dead, pg_stat_get_live_tuples(c.oid) AS live) AS rows
 WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'
