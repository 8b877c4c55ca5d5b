-- Whatever the status: the last word of a short task comes with its end.
UPDATE task_queue SET progress = ? WHERE id = ? AND fencing_token = ?
