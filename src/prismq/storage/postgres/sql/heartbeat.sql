UPDATE workers
   SET heartbeat_utc = %(now)s, status = %(status)s, slots = %(slots)s, busy = %(busy)s, held = %(held)s,
       completed = completed + %(completed)s, failed = failed + %(failed)s, retried = retried + %(retried)s,
       last_claim_utc = coalesce(%(last_claim)s, last_claim_utc),
       last_look_utc = coalesce(%(last_look)s, last_look_utc),
       cpu_percent = %(cpu_percent)s, memory_bytes = %(memory_bytes)s, note = %(note)s, run_s = run_s + %(run_s)s
 WHERE worker_id = %(worker_id)s
