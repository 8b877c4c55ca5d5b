"""What the dashboards share: colours of thresholds, variables, and expressions that they all use."""

from __future__ import annotations

from prismq.observability.kit.panels import GREEN, RED, YELLOW, Panel, Query

Steps = tuple[tuple[float | None, str], ...]

QUEUE = ("queue", "Queue", "label_values(prismq_queue_tasks, queue)")
WORKER = ("worker", "Worker", "label_values(prismq_worker_up, worker_id)")
OF_QUEUE = '<S>,queue=~"$queue"'
OF_WORKER = '<S>,worker_id=~"$worker"'
ENDED = 'outcome=~"completed|failed|dead_letter"'
FAILED = 'outcome=~"failed|dead_letter"'
NOT_THE_DOG = 'alertstate="firing",alertname!="Watchdog",<S>'

HALF = 12
SHARE: Steps = ((None, GREEN), (0.05, YELLOW), (0.1, RED))
FULL: Steps = ((None, GREEN), (80.0, YELLOW), (95.0, RED))
NONE_GOOD: Steps = ((None, GREEN), (1.0, RED))
ANY_GOOD: Steps = ((None, RED), (1.0, GREEN))


def rate_of(name: str, selector: str, *by: str) -> str:
    """How fast a counter of tasks grows in a second, each series once, whichever server tells it."""
    labels = ("service", "queue", "type", *(("outcome",) if "finished_total" in name else ()))
    return f"sum by ({', '.join(by)}) (max by ({', '.join(labels)}) (rate({name}{{{selector}}}[$__rate_interval])))"


def quantiles(buckets: str) -> tuple[Query, ...]:
    """The median and the tail of a histogram: `buckets` by le."""
    return tuple(
        Query(f"histogram_quantile({part}, sum by (le) ({buckets}))", name)
        for part, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def stat(title: str, expression: str, unit: str, meaning: str, steps: Steps, page: str) -> Panel:
    """One number."""
    return Panel(title, (Query(expression),), unit, meaning, "stat", steps, 4, 4, page)
