SELECT i.indexrelid::regclass::text
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indrelid
 WHERE c.relnamespace = %s::regnamespace AND NOT (i.indisvalid AND i.indisready)
