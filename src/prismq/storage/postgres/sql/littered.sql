-- Tables with more dead rows than their own settings allow; with autovacuum switched off in one, nobody wants it vacuumed.
SELECT s.relname
  FROM pg_stat_all_tables AS s
  JOIN pg_class AS c ON c.oid = s.relid
 CROSS JOIN LATERAL (
       SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS threshold,
              max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8 AS factor,
              max(option_value) FILTER (WHERE option_name = 'autovacuum_enabled')::boolean AS enabled
         FROM pg_options_to_table(c.reloptions)) AS its
 WHERE s.schemaname = %s
   AND coalesce(its.enabled, true)
   AND s.n_dead_tup > coalesce(its.threshold, current_setting('autovacuum_vacuum_threshold')::float8)
                    + coalesce(its.factor, current_setting('autovacuum_vacuum_scale_factor')::float8) * s.n_live_tup
 ORDER BY s.n_dead_tup DESC
