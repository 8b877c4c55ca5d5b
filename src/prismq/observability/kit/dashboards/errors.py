"""Error Analysis: what fails, where, and how."""

from __future__ import annotations

from prismq.observability.kit.dashboards.parts import (
    ENDED,
    FAILED,
    HALF,
    OF_QUEUE,
    QUEUE,
    SHARE,
    rate_of,
)
from prismq.observability.kit.panels import Dashboard, Panel, Query, Row
from prismq.observability.kit.promql import grown


def _in_an_hour(title: str, name: str, selector: str, meaning: str, page: str = "failures") -> Panel:
    expression = f"topk(20, sum by (queue, type) ({grown(name, selector, '1h')}) > 0)"
    return Panel(title, (Query(expression),), "short", meaning, "table", width=HALF, page=page)


ERRORS = Dashboard(
    "prismq-errors",
    "Error Analysis",
    "What fails, where, since when; and how.",
    "failures",
    (
        Row(
            "How much",
            (
                Panel(
                    "Failure rate",
                    (Query("max by (service) (rate(task_queue:failure_rate{<S>}[5m]))", "{{service}}"),),
                    "percentunit",
                    "Which part of the tasks that end fails.",
                    steps=SHARE,
                    page="failures",
                ),
                Panel(
                    "Failed by queue",
                    (
                        Query(
                            "60 * " + rate_of("prismq_tasks_finished_total", f"{OF_QUEUE},{FAILED}", "queue"),
                            "{{queue}}",
                        ),
                    ),
                    "cpm",
                    "Tasks that fail for good in a minute, dead letters among them.",
                    page="failures",
                    stacked=True,
                ),
                Panel(
                    "Failure rate by queue",
                    (
                        Query(
                            f"sum by (queue) ({grown('prismq_tasks_finished_total', f'{OF_QUEUE},{FAILED}')}) / "
                            f"(sum by (queue) ({grown('prismq_tasks_finished_total', f'{OF_QUEUE},{ENDED}')}) > 0)",
                            "{{queue}}",
                        ),
                    ),
                    "percentunit",
                    "Which part of a queue's tasks fails.",
                    steps=SHARE,
                    page="failures",
                ),
            ),
        ),
        Row(
            "What",
            (
                _in_an_hour(
                    "Failures by type, last hour",
                    "prismq_tasks_finished_total",
                    f"{OF_QUEUE},{FAILED}",
                    "Tasks that failed for good.",
                ),
                _in_an_hour(
                    "Dead letters, last hour",
                    "prismq_tasks_finished_total",
                    f'{OF_QUEUE},outcome="dead_letter"',
                    "Tasks whose attempts are used up.",
                    "tasks?status=dead_letter",
                ),
                _in_an_hour(
                    "Retries by type, last hour",
                    "prismq_task_retries_total",
                    OF_QUEUE,
                    "Attempts that failed and were put back: failures of tomorrow.",
                ),
                _in_an_hour(
                    "Lost with their worker, last hour",
                    "prismq_task_leases_lost_total",
                    OF_QUEUE,
                    "Attempts whose worker died or stood still.",
                ),
            ),
        ),
        Row(
            "How",
            (
                Panel(
                    "Retries",
                    (Query("60 * " + rate_of("prismq_task_retries_total", OF_QUEUE, "queue"), "{{queue}}"),),
                    "cpm",
                    "Attempts that failed and were put back, in a minute.",
                    page="failures",
                ),
                Panel(
                    "Timeouts",
                    (Query("60 * " + rate_of("prismq_task_timeouts_total", OF_QUEUE, "queue"), "{{queue}}"),),
                    "cpm",
                    "Attempts that ran into their timeout, in a minute.",
                    page="failures",
                ),
                Panel(
                    "Attempts per task",
                    (
                        Query(
                            f"sum by (queue) ({grown('prismq_finished_task_attempts_total', OF_QUEUE)}) / "
                            f"(sum by (queue) ({grown('prismq_tasks_finished_total', OF_QUEUE)}) > 0)",
                            "{{queue}}",
                        ),
                    ),
                    "short",
                    "1 is a task that works the first time.",
                    page="failures",
                ),
                Panel(
                    "Dead letters in stock",
                    (
                        Query(
                            f"sum by (queue) (max by (service, queue, status, priority) "
                            f'(prismq_queue_tasks{{{OF_QUEUE},status="dead_letter"}}))',
                            "{{queue}}",
                        ),
                    ),
                    "short",
                    "Until somebody retries or deletes them.",
                    page="tasks?status=dead_letter",
                ),
                Panel(
                    "API errors",
                    (
                        Query(
                            'sum by (route, status) (rate(prismq_http_requests_total{<S>,status=~"5.."}'
                            "[$__rate_interval]))",
                            "{{status}} {{route}}",
                        ),
                    ),
                    "reqps",
                    "Requests that the server failed to answer.",
                ),
                Panel(
                    "Alerts that fire",
                    (Query('count by (alertname, severity) (ALERTS{alertstate="firing",alertname!="Watchdog",<S>})'),),
                    "short",
                    "Now.",
                    "table",
                ),
            ),
        ),
    ),
    (QUEUE,),
)
