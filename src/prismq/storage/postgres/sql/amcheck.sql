-- Every B-tree of ours, by the server's own extension: bt_index_check takes no lock that a worker would wait for.
SELECT c.relname, bt_index_check(index => c.oid, heapallindexed => false)
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_am AS am ON am.oid = c.relam
 WHERE c.relnamespace = %s::regnamespace AND am.amname = 'btree' AND i.indisvalid
