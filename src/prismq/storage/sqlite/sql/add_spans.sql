-- The task may have been deleted meanwhile. Given twice, the last counts.
INSERT INTO task_spans (task_id, fencing_token, attempt, trace_id, spans)
SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM task_queue WHERE id = ?1)
ON CONFLICT (task_id, fencing_token) DO UPDATE SET trace_id = excluded.trace_id, spans = excluded.spans
