"""System Metrics: machines, database, Redis, the API."""

from __future__ import annotations

from prismq.observability.kit.dashboards.parts import (
    FULL,
    HALF,
    quantiles,
)
from prismq.observability.kit.panels import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row

SYSTEM = Dashboard(
    "prismq-system",
    "System Metrics",
    "The machines that answer, the database, Redis and the API.",
    "system",
    (
        Row(
            "Machine",
            (
                Panel(
                    "CPU usage",
                    (Query("system:cpu_usage_percent{<S>}", "{{instance}}"),),
                    "percent",
                    "All processors of the machine together.",
                    steps=FULL,
                    page="system",
                    max=100.0,
                ),
                Panel(
                    "Memory usage",
                    (Query("system:memory_usage_percent{<S>}", "{{instance}}"),),
                    "percent",
                    "Memory that programs could not have.",
                    steps=FULL,
                    page="system",
                    max=100.0,
                ),
                Panel(
                    "Disk usage",
                    (Query("system:disk_usage_percent{<S>}", "{{instance}}"),),
                    "percent",
                    "Of the volume that a SQLite database lies on.",
                    steps=FULL,
                    page="system",
                    max=100.0,
                ),
                Panel(
                    "Disk I/O",
                    (
                        Query("rate(system:disk_read_bytes{<S>}[$__rate_interval])", "read {{instance}}"),
                        Query("rate(system:disk_write_bytes{<S>}[$__rate_interval])", "written {{instance}}"),
                    ),
                    "Bps",
                    "All disks of the machine.",
                    width=HALF,
                    page="system",
                ),
                Panel(
                    "Network throughput",
                    (
                        Query("rate(system:network_in_bytes{<S>}[$__rate_interval])", "in {{instance}}"),
                        Query("rate(system:network_out_bytes{<S>}[$__rate_interval])", "out {{instance}}"),
                    ),
                    "Bps",
                    "All interfaces of the machine.",
                    width=HALF,
                    page="system",
                ),
            ),
        ),
        Row(
            "Database",
            (
                Panel(
                    "Database connections",
                    (
                        Query("database:pool_connections_in_use{<S>}", "in use {{instance}}"),
                        Query("database:pool_connections_available{<S>}", "available {{instance}}"),
                    ),
                    "short",
                    "Of a server's pool. Below two left, requests begin to wait.",
                    page="system",
                ),
                Panel(
                    "Query duration",
                    quantiles("database:query_duration_seconds_bucket{<S>}"),
                    "s",
                    "Statements of the servers.",
                    steps=((None, GREEN), (1.0, RED)),
                    page="system",
                ),
                Panel(
                    "Queries",
                    (Query("sum by (type) (rate(database:queries_total{<S>}[$__rate_interval]))", "{{type}}"),),
                    "ops",
                    "Statements of the servers in a second, by what they do.",
                    page="system",
                    stacked=True,
                ),
                Panel(
                    "Database size",
                    (
                        Query("max by (service) (prismq_database_size_bytes{<S>})", "all of it"),
                        Query("max by (service) (prismq_database_wal_bytes{<S>})", "write-ahead log"),
                        Query("max by (service) (prismq_database_unused_bytes{<S>})", "unused"),
                    ),
                    "bytes",
                    "What it takes on disk.",
                    page="system",
                ),
                Panel(
                    "Response time",
                    (Query("max by (instance) (prismq_database_response_seconds{<S>})", "{{instance}}"),),
                    "s",
                    "One look into an index.",
                    steps=((None, GREEN), (0.5, YELLOW), (1.0, RED)),
                    page="system",
                ),
                Panel(
                    "Lock waits and refusals",
                    (
                        Query(
                            "sum by (instance) (rate(prismq_database_lock_wait_seconds_total{<S>}[$__rate_interval]))",
                            "seconds waited in a second",
                        ),
                        Query(
                            "sum by (instance) (rate(prismq_database_busy_total{<S>}[$__rate_interval]))",
                            "given up in a second",
                        ),
                    ),
                    "short",
                    "Waiting for SQLite's one writer, or for a connection.",
                    page="system",
                ),
            ),
        ),
        Row(
            "Redis and the API",
            (
                Panel(
                    "Redis clients",
                    (Query("redis:connected_clients{<S>}", "{{service}}"),),
                    "short",
                    "Where Redis is configured.",
                ),
                Panel(
                    "Redis memory",
                    (Query("redis:memory_bytes{<S>}", "{{service}}"),),
                    "bytes",
                    "Where Redis is configured.",
                ),
                Panel(
                    "Redis commands",
                    (Query("rate(redis:commands_total{<S>}[$__rate_interval])", "{{service}}"),),
                    "ops",
                    "Commands in a second.",
                ),
                Panel(
                    "API requests",
                    (Query("sum by (status) (rate(prismq_http_requests_total{<S>}[$__rate_interval]))", "{{status}}"),),
                    "reqps",
                    "Requests in a second, by status.",
                    width=HALF,
                    stacked=True,
                ),
                Panel(
                    "API latency",
                    quantiles("rate(prismq_http_request_seconds_bucket{<S>}[$__rate_interval])"),
                    "s",
                    "From a request's head to the end of the answer.",
                    width=HALF,
                ),
            ),
        ),
        Row(
            "Upkeep",
            (
                Panel(
                    "Backup age",
                    (
                        Query(
                            "time() - max by (service) (prismq_backup_last_success_timestamp_seconds{<S>})",
                            "newest backup",
                        ),
                    ),
                    "s",
                    "How old the newest backup is.",
                ),
                Panel(
                    "Schedules overdue",
                    (
                        Query(
                            "clamp_min(time() - max by (schedule) "
                            "(prismq_schedule_next_due_timestamp_seconds{<S>}), 0)",
                            "{{schedule}}",
                        ),
                    ),
                    "s",
                    "How late each schedule is.",
                    page="schedules",
                ),
                Panel(
                    "Cost of a look",
                    (Query("max by (instance) (prismq_metrics_collect_seconds{<S>})", "{{instance}}"),),
                    "s",
                    "How long it takes to collect all figures.",
                ),
            ),
        ),
    ),
)
