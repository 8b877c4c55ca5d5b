INSERT INTO schedules AS s (schedule, expression, timezone, missed, template, last_slot_utc, updated_at_utc)
VALUES (%(name)s, %(expression)s, %(timezone)s, %(missed)s, %(template)s, %(now)s, %(now)s)
ON CONFLICT (schedule) DO UPDATE
   SET last_slot_utc = CASE WHEN s.expression = excluded.expression AND s.timezone = excluded.timezone
                            THEN s.last_slot_utc
                            ELSE greatest(s.last_slot_utc, excluded.last_slot_utc) END,
       expression = excluded.expression, timezone = excluded.timezone, missed = excluded.missed,
       template = excluded.template, updated_at_utc = excluded.updated_at_utc
