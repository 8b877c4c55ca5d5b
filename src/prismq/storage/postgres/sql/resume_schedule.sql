UPDATE schedules
   SET last_slot_utc = CASE WHEN paused_at_utc IS NULL THEN last_slot_utc ELSE greatest(last_slot_utc, %(now)s) END,
       paused_at_utc = NULL
 WHERE schedule = %(name)s
