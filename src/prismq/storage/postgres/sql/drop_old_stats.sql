DELETE FROM task_stats WHERE span_s = %s AND slot_utc < %s
