"""Task Queue Overview: the reference's panels, and how long work waits."""

from __future__ import annotations

from prismq.observability.kit.dashboards.parts import (
    ANY_GOOD,
    HALF,
    NONE_GOOD,
    OF_QUEUE,
    QUEUE,
    SHARE,
    quantiles,
    rate_of,
    stat,
)
from prismq.observability.kit.panels import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row
from prismq.observability.kit.promql import grown

OVERVIEW = Dashboard(
    "prismq-overview",
    "Task Queue Overview",
    "What comes in, what is done, what waits and for how long.",
    "",
    (
        Row(
            "Now",
            (
                stat(
                    "Oldest ready task",
                    "max(prismq_queue_oldest_ready_seconds{<S>}) or vector(0)",
                    "s",
                    "How long the longest-waiting ready task has been ready.",
                    ((None, GREEN), (60.0, YELLOW), (300.0, RED)),
                    "queues",
                ),
                stat(
                    "Ready tasks",
                    "sum(task_queue:queue_depth{<S>})",
                    "short",
                    "Tasks that any fitting worker may take.",
                    ((None, GREEN), (800.0, YELLOW), (1000.0, RED)),
                    "queues",
                ),
                stat(
                    "Tasks nobody takes",
                    f"sum(max by (service, queue) (prismq_queue_unserved_tasks{{{OF_QUEUE}}}))",
                    "short",
                    "Ready tasks that no live worker takes: none runs, serves the queue, or knows the type.",
                    NONE_GOOD,
                    "queues",
                ),
                stat(
                    "Success rate, last hour",
                    '1 - max(slo:bad_ratio{<S>,slo="success",window="1h"})',
                    "percentunit",
                    "Of the tasks that ended, the part that completed. The promise is 99 %.",
                    ((None, RED), (0.99, GREEN)),
                    "failures",
                ),
                stat(
                    "Healthy workers",
                    "count(workers:healthy{<S>}) or vector(0)",
                    "short",
                    "Workers that are heard of, and take what they could take.",
                    ANY_GOOD,
                    "workers",
                ),
                stat(
                    "Firing alerts",
                    'count(ALERTS{alertstate="firing",alertname!="Watchdog",<S>}) or vector(0)',
                    "short",
                    "Alerts of this queue that fire now.",
                    NONE_GOOD,
                    "",
                ),
            ),
        ),
        Row(
            "Throughput",
            (
                Panel(
                    "Queue depth over time",
                    (Query("sum by (priority) (task_queue:queue_depth{<S>})", "{{priority}}"),),
                    "short",
                    "Tasks that are ready, by priority: high (below 100), normal or low.",
                    steps=((None, GREEN), (1000.0, RED)),
                    page="queues",
                    stacked=True,
                ),
                Panel(
                    "Task submission rate",
                    (Query("sum(rate(task_queue:submission_rate{<S>}[$__rate_interval]))", "submitted"),),
                    "cpm",
                    "Tasks that are enqueued in a minute.",
                ),
                Panel(
                    "Task completion rate",
                    (Query("sum(rate(task_queue:completion_rate{<S>}[$__rate_interval]))", "completed"),),
                    "cpm",
                    "Tasks that complete in a minute.",
                ),
                Panel(
                    "Failure rate",
                    (
                        Query("max(rate(task_queue:failure_rate{<S>}[5m]))", "failed"),
                        Query("max(rate(task_queue:retry_rate{<S>}[5m]))", "retried"),
                        Query("max(rate(task_queue:timeout_rate{<S>}[5m]))", "attempts timed out"),
                    ),
                    "percentunit",
                    "Which part of what ends fails, was retried, or timed out.",
                    steps=SHARE,
                    page="failures",
                ),
                Panel(
                    "Average processing time",
                    (
                        Query("avg(task_queue:processing_time_seconds{<S>})", "average"),
                        *quantiles("task_queue:processing_time_seconds_bucket{<S>}"),
                    ),
                    "s",
                    "How long the last attempt of completed tasks ran.",
                    steps=((None, GREEN), (30.0, RED)),
                ),
                Panel(
                    "Waiting time",
                    quantiles(grown("prismq_task_wait_seconds_bucket", OF_QUEUE)),
                    "s",
                    "How long attempts waited from when they were ready to their start.",
                ),
            ),
        ),
        Row(
            "Queues",
            (
                Panel(
                    "Oldest ready task by queue",
                    (Query(f"max by (queue) (prismq_queue_oldest_ready_seconds{{{OF_QUEUE}}})", "{{queue}}"),),
                    "s",
                    "What users feel: depth says little without speed.",
                    steps=((None, GREEN), (300.0, RED)),
                    width=HALF,
                    page="queues",
                ),
                Panel(
                    "Completed by queue",
                    (
                        Query(
                            "60 * "
                            + rate_of("prismq_tasks_finished_total", f'{OF_QUEUE},outcome="completed"', "queue"),
                            "{{queue}}",
                        ),
                    ),
                    "cpm",
                    "Tasks that complete in a minute.",
                    width=HALF,
                    page="queues",
                    stacked=True,
                ),
                Panel(
                    "Tasks by status",
                    (
                        Query(
                            "sum by (status) (max by (service, queue, status, priority) "
                            f'(prismq_queue_tasks{{{OF_QUEUE},status=~"scheduled|queued|claimed|processing"}}))',
                            "{{status}}",
                        ),
                    ),
                    "short",
                    "Tasks that have not ended, by where they are in their life.",
                    width=HALF,
                    page="tasks",
                    stacked=True,
                ),
                Panel(
                    "Error budget burn rate",
                    (Query('max by (slo, queue) (slo:burn_rate{<S>,window="1h"})', "{{slo}} {{queue}}"),),
                    "short",
                    "How many times faster than it may each service level uses up its error budget, over an "
                    "hour. At 1 the budget of 30 days lasts 30 days.",
                    steps=((None, GREEN), (6.0, YELLOW), (14.4, RED)),
                    width=HALF,
                ),
            ),
        ),
    ),
    (QUEUE,),
)
