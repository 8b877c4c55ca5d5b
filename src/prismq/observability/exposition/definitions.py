"""Every metric that is shown, as data: the text, the reference in docs/metrics.md and rules are made from this table.

Names follow https://prometheus.io/docs/practices/naming/: one prefix, base units, `_total` for counters.
"""

from __future__ import annotations

from prismq.observability.exposition.metric import BUCKETS_S, Kind, Metric
from prismq.observability.exposition.of_surroundings import DATABASE, HTTP, REDIS, SELF, SYSTEM
from prismq.observability.exposition.of_work import STEERING, TASKS, UPKEEP, WORKERS

GROUPS = {
    "task": "Tasks and queues",
    "worker": "Workers",
    "upkeep": "Schedules, canaries and backups",
    "steering": "Scaling and remediation",
    "http": "The HTTP server",
    "system": "The machine that answers",
    "database": "The database",
    "redis": "Redis",
    "self": "The figures themselves",
}

METRICS: tuple[Metric, ...] = tuple(
    metric._replace(group=group, buckets=metric.buckets or (BUCKETS_S if metric.kind is Kind.HISTOGRAM else ()))
    for group, metrics in zip(
        GROUPS, (TASKS, WORKERS, UPKEEP, STEERING, HTTP, SYSTEM, DATABASE, REDIS, SELF), strict=True
    )
    for metric in metrics
)
BY_NAME = {metric.name: metric for metric in METRICS}
