"""Every bound of the system and the reason for it, in one place."""

from __future__ import annotations

# A queue is not a file store: past this, keep the data elsewhere and enqueue where it lies.
PAYLOAD_BYTES_MAX = 1_048_576
# A result is kept in the task's row and read by every list that shows it.
RESULT_BYTES_MAX = 1_048_576
# Names end up in labels, file names and terminals.
NAME_CHARS_MAX = 200
KEY_CHARS_MAX = 500
TAGS_MAX = 32
# A traceback past this is recursion; its head and its tail tell the story.
TRACEBACK_CHARS_MAX = 32_768
ERROR_CHARS_MAX = 4_096
LOG_MESSAGE_CHARS_MAX = 8_192
LOG_DETAILS_BYTES_MAX = 65_536
# One attempt may not fill the disk: past this many lines the rest is counted, not kept.
LOGS_PER_ATTEMPT_MAX = 2_000
# A line counts once for each of these, so that long ones do not fill it either.
LOG_UNIT_CHARS = 4_096
# A task that runs for a week renews its lease 60,000 times; the first of them tell the story.
RENEWAL_LINES_MAX = 100
# A waterfall past this many bars is not read; all of them are in the collector.
SPANS_PER_ATTEMPT_MAX = 100
SPAN_ATTRIBUTES_MAX = 16
SPAN_TEXT_CHARS_MAX = 200
# Lines of a level that no index has are looked for among the newest.
LOGS_LOOKED_AT = 100_000
# Failures of one queue are looked for among the newest of all, which one index has.
FAILURES_LOOKED_AT = 5_000
PRIORITY_MIN, PRIORITY_MAX = -1_000_000, 1_000_000
ATTEMPTS_MAX = 10_000
# SQLite's dates end with the year 9999; a century is a typing error all the same.
DELAY_S_MAX = 100 * 366 * 86_400.0

# One transaction should hold the writer's lock for milliseconds, whatever the backlog is.
CLAIM_BATCH_MAX = 1_000
BULK_CHUNK = 5_000
BOOK_CHUNK = 20_000
PROMOTE_CHUNK = 1_000
EXPIRE_CHUNK = 500
PRUNE_CHUNK = 500
# Work taken by filter goes in pieces, so that nobody waits behind a million rows.
FILTER_CHUNK = 1_000
# Entries a journal holds while its store is out of reach; past this, logs are dropped and counted.
JOURNAL_LOGS_MAX = 50_000
# What a worker may hold beyond its slots; more would be lost time for others if it died.
PREFETCH_MAX = 1_000
# Each set of labels is a time series in a monitoring system for months; queues may be named by a program.
METRIC_PAIRS_MAX = 100  # of queue and type, each about 60 lines
METRIC_QUEUES_MAX = 100
METRIC_WORKERS_MAX = 200
METRIC_SCHEDULES_MAX = 100
METRIC_ROUTES_MAX = 200  # of HTTP: method, route and status; each method and route has some 20 lines besides
