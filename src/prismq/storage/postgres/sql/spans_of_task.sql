SELECT task_id, fencing_token, attempt, trace_id, spans FROM task_spans WHERE task_id = %s ORDER BY fencing_token
