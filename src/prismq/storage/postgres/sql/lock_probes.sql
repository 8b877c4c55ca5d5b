-- Of several who would try a task of the same type, one does; the others pass it over.
SELECT type FROM breakers WHERE type = ANY (%s) AND state = 'half_open' ORDER BY type FOR UPDATE SKIP LOCKED
