-- A task that its own transaction completed has not returned yet: whoever waits for the result waits until then.
UPDATE task_queue SET lease_until_utc = to_timestamp(%s) WHERE id = %s AND fencing_token = %s
