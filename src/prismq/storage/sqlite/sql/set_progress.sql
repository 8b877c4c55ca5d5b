-- Completed too: what a task reports last may come after the end that its own transaction wrote. A lease that ran
-- out reports nothing any more, although its token stays the latest until the next claim.
UPDATE task_queue SET progress = ?
 WHERE id = ? AND fencing_token = ? AND (status = 'processing' OR status = 'claimed' OR status = 'completed')
