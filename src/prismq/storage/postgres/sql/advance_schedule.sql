-- It never goes back, whatever the clocks do. Of those who fire one slot at once the first holds the row; the
-- others wait for it, look again, and find the slot taken.
UPDATE schedules
   SET last_slot_utc = %(slot)s
 WHERE schedule = %(name)s AND last_slot_utc < %(slot)s AND paused_at_utc IS NULL
