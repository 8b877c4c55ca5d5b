-- One statement, one moment: folding moves rows from table to table. The first column tells which have been folded.
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 60 AND slot_utc >= %(since_60)s AND slot_utc <= %(until)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 600 AND slot_utc >= %(since_600)s AND slot_utc <= %(until)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT true, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats
 WHERE span_s = 3600 AND slot_utc >= %(since_3600)s AND slot_utc <= %(until)s
   AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT false, queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins
  FROM task_stats_deltas
 WHERE slot_utc >= %(since_60)s AND slot_utc <= %(until)s AND (%(only)s::text IS NULL OR outcome = %(only)s)
UNION ALL
SELECT false, queue, type, 'enqueued', sum(tasks)::bigint, 0, 0, 0, 0, NULL, NULL
  FROM queue_depth_deltas
 WHERE slot_utc >= %(since_60)s AND slot_utc <= %(until)s AND (%(only)s::text IS NULL OR %(only)s = 'enqueued')
 GROUP BY queue, type
