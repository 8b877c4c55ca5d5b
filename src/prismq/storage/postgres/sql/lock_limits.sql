-- Claimers of a limited queue come one after the other, from here to the commit. Others are not held up.
SELECT queue FROM queues WHERE queue = ANY (%s::text[]) ORDER BY queue FOR UPDATE
