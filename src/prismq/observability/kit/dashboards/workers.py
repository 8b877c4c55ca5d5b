"""Worker Performance: who works, how much, how well."""

from __future__ import annotations

from prismq.observability.kit.dashboards.parts import (
    ANY_GOOD,
    FULL,
    HALF,
    NONE_GOOD,
    OF_WORKER,
    SHARE,
    WORKER,
    stat,
)
from prismq.observability.kit.panels import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row

WORKERS = Dashboard(
    "prismq-workers",
    "Worker Performance",
    "Who works, how much, how well.",
    "workers",
    (
        Row(
            "Now",
            (
                stat(
                    "Workers",
                    "sum(workers:total{<S>}) or vector(0)",
                    "short",
                    "Workers that have not ended.",
                    ANY_GOOD,
                    "workers",
                ),
                stat(
                    "Healthy",
                    "count(workers:healthy{<S>}) / count(workers:total{<S>})",
                    "percentunit",
                    "The part of them that is well. The promise is 95 %.",
                    ((None, RED), (0.95, GREEN)),
                    "workers",
                ),
                stat(
                    "Silent",
                    'count(up{job="workers",<S>} == 0) or vector(0)',
                    "short",
                    "Workers that are not heard of any more.",
                    NONE_GOOD,
                    "workers",
                ),
                stat(
                    "Not consuming",
                    "max(prismq_workers_not_consuming{<S>})",
                    "short",
                    "Workers that are alive and claim nothing while tasks wait.",
                    NONE_GOOD,
                    "workers",
                ),
                stat(
                    "Busy slots",
                    "sum(max by (service, worker_id) (prismq_worker_busy_slots{<S>})) / "
                    "sum(max by (service, worker_id) (prismq_worker_slots{<S>}))",
                    "percentunit",
                    "Which part of all slots runs a task.",
                    ((None, GREEN), (0.8, YELLOW), (0.95, RED)),
                    "workers",
                ),
                stat(
                    "Restarts, last day",
                    "sum(max by (service, worker_id) "
                    "(prismq_worker_restarts{<S>} - (prismq_worker_restarts{<S>} offset 1d))) or vector(0)",
                    "short",
                    "How often live worker processes were replaced.",
                    ((None, GREEN), (1.0, YELLOW)),
                    "workers",
                ),
            ),
        ),
        Row(
            "Each worker",
            (
                Panel(
                    "Worker utilization (%)",
                    (Query(f"worker:utilization_percent{{{OF_WORKER}}}", "{{worker_id}}"),),
                    "percent",
                    "Which part of its slots is busy.",
                    steps=FULL,
                    width=HALF,
                    page="workers",
                    max=100.0,
                ),
                Panel(
                    "Task rate by worker",
                    (Query(f"worker:task_rate{{{OF_WORKER}}}", "{{worker_id}}"),),
                    "cpm",
                    "Tasks that it ends in a minute.",
                    width=HALF,
                    page="workers",
                ),
                Panel(
                    "Error rate by worker",
                    (Query(f"worker:error_rate{{{OF_WORKER}}}", "{{worker_id}}"),),
                    "percentunit",
                    "Which part of its attempts fails. One that differs from the others has a bad machine or release.",
                    steps=SHARE,
                    width=HALF,
                    page="workers",
                ),
                Panel(
                    "Uptime by worker",
                    (Query(f"worker:uptime_seconds{{{OF_WORKER}}}", "{{worker_id}}"),),
                    "s",
                    "How long it has run.",
                    width=HALF,
                    page="workers",
                ),
                Panel(
                    "Average duration by worker",
                    (Query(f"worker:avg_duration_seconds{{{OF_WORKER}}}", "{{worker_id}}"),),
                    "s",
                    "How long an attempt runs on it.",
                    width=HALF,
                    page="workers",
                ),
                Panel(
                    "Memory by worker",
                    (Query(f"max by (worker_id) (prismq_worker_memory_bytes{{{OF_WORKER}}})", "{{worker_id}}"),),
                    "bytes",
                    "Resident memory. A line that only rises is a leak.",
                    width=HALF,
                    page="workers",
                ),
            ),
        ),
        Row(
            "Distribution",
            (
                Panel(
                    "Task distribution",
                    (
                        Query(
                            f"sum by (worker_id) (increase(prismq_worker_tasks_finished_total{{{OF_WORKER}}}[1h]))",
                            "{{worker_id}}",
                        ),
                    ),
                    "short",
                    "Tasks that each worker ended in the last hour.",
                    "bargauge",
                    width=HALF,
                    page="workers",
                ),
                Panel(
                    "Tasks in hand",
                    (Query(f"max by (worker_id) (prismq_worker_held_tasks{{{OF_WORKER}}})", "{{worker_id}}"),),
                    "short",
                    "Tasks that it has claimed, those that run among them.",
                    width=HALF,
                    page="workers",
                    stacked=True,
                ),
                Panel(
                    "Workers by status",
                    (Query("sum by (status) (workers:total{<S>})", "{{status}}"),),
                    "short",
                    "Active, paused, draining, or silent.",
                    width=HALF,
                    page="workers",
                    stacked=True,
                ),
                Panel(
                    "Processor by worker",
                    (
                        Query(
                            f"100 * max by (worker_id) (prismq_worker_cpu_usage_ratio{{{OF_WORKER}}})", "{{worker_id}}"
                        ),
                    ),
                    "percent",
                    "Of one core.",
                    width=HALF,
                    page="workers",
                ),
            ),
        ),
    ),
    (WORKER,),
)
