UPDATE worker_commands
   SET taken_at_utc = %s
 WHERE worker_id = %s AND taken_at_utc IS NULL
RETURNING command_id, command, argument, asked_by
