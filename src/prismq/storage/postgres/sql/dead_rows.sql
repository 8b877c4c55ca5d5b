SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid),
       coalesce(greatest(last_vacuum, last_autovacuum)::text, 'never')
  FROM pg_stat_all_tables
 WHERE schemaname = %s AND n_dead_tup >= %s AND n_dead_tup > n_live_tup * %s
 ORDER BY n_dead_tup DESC
