-- Queued tasks whose payload is no JSON object, among the first so many.
SELECT id
  FROM (SELECT id, payload FROM task_queue INDEXED BY ix_task_ready WHERE status = 'queued' LIMIT ?)
 WHERE CASE WHEN typeof(payload) <> 'text' OR NOT json_valid(payload) THEN 1
            ELSE json_type(payload) <> 'object' END
