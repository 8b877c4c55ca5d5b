"""The figures of a queue as Prometheus reads them, collected from the store when they are asked for."""

from __future__ import annotations

from prismq.observability.exposition.collector import RedisMetrics, RedisReader, Snapshot, collect
from prismq.observability.exposition.definitions import METRICS
from prismq.observability.exposition.metric import Kind, Metric
from prismq.observability.exposition.text import Format, negotiate, render, render_metrics

__all__ = [
    "METRICS",
    "Format",
    "Kind",
    "Metric",
    "RedisMetrics",
    "RedisReader",
    "Snapshot",
    "collect",
    "negotiate",
    "render",
    "render_metrics",
]
