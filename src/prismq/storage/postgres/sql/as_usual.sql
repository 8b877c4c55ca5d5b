-- Whether the one queue that a worker claimed all of last time can be claimed from as it was then: nothing is paused or
-- limited, no breaker is open, and all that is ready lies there and is of a route that the worker is known to serve.
SELECT NOT EXISTS (SELECT FROM queues WHERE paused_at_utc IS NOT NULL OR max_running IS NOT NULL)
   AND NOT EXISTS (SELECT FROM breakers WHERE state <> 'closed')
   AND NOT EXISTS (SELECT FROM (:routes) AS ready WHERE queue <> ALL (%(queues)s) OR route <> ALL (%(known)s::text[]))
