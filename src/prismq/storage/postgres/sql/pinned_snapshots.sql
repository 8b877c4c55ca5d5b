-- Whoever holds on to an old state of the database keeps vacuum from removing what died since.
SELECT 'session ' || pid || coalesce(' of ' || nullif(usename, ''), '') || coalesce(' (' || nullif(application_name, '') || ')', ''),
       extract(epoch FROM clock_timestamp() - xact_start)::float8, state
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
   AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
   AND clock_timestamp() - xact_start > make_interval(secs => %(age_s)s)
UNION ALL
SELECT 'replication slot ' || slot_name, NULL, CASE WHEN active THEN 'active' ELSE 'inactive' END
  FROM pg_replication_slots
 WHERE (xmin IS NOT NULL AND age(xmin) > 1000000) OR (NOT active AND restart_lsn IS NOT NULL)
UNION ALL
SELECT 'prepared transaction ' || gid, extract(epoch FROM clock_timestamp() - prepared)::float8, 'prepared'
  FROM pg_prepared_xacts
 WHERE database = current_database() AND clock_timestamp() - prepared > make_interval(secs => %(age_s)s)
