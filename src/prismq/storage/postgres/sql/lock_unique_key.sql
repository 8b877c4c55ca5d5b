-- Who looks for the holder of a key and then writes one has the key to himself in between.
SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))
