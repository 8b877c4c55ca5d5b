"""The kit before the real programs: Prometheus looks at a real server while real workers run, Alertmanager routes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

from prismq.observability.kit.grafana import grafana_kit
from prismq.observability.kit.options import KitOptions
from tests.helpers.processes import wait_until
from tests.kit.scene import Scene, scene


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A wave of tasks has been done while Prometheus looked: of 100, 40 failed, 10 needed a second attempt."""
    with scene(tmp_path_factory.mktemp("stage")) as found:
        found.run(work=48, stumble=10, breaks=40, late=2)
        found.prometheus.when(
            'sum(prismq_tasks_finished_total{queue=~"work|break|stumble|late"})', lambda value: value == 104
        )
        # What is recorded of it comes with the next evaluations.
        for share in ("failure", "retry", "timeout"):
            found.prometheus.when(f"rate(task_queue:{share}_rate[5m])", lambda value: value > 0)
        found.prometheus.when(AVAILABLE, lambda value: value > 0)
        yield found


AVAILABLE = 'sum(rate(api:requests{status=~"2.."}[5m])) / sum(rate(api:requests[5m]))'

# Every query, alert and service level that the reference prints. What has to come out: a number, or None where a
# healthy queue has nothing to show.
REFERENCE = {
    "task_queue:submission_rate": lambda v: v >= 60 * 104,
    "task_queue:completion_rate": lambda v: v >= 60 * 59,
    "task_queue:failure_rate": lambda v: v > 0,
    "task_queue:retry_rate": lambda v: v > 0,
    "task_queue:timeout_rate": lambda v: v > 0,
    'task_queue:queue_depth{priority="high"}': lambda v: v == 0,
    'task_queue:queue_depth{priority="normal"}': lambda v: v >= 0,
    'task_queue:queue_depth{priority="low"}': lambda v: v == 0,
    'sum(workers:total{status="active"})': lambda v: v == 2,
    "system:cpu_usage_percent": lambda v: 0 <= v <= 100,
    "system:memory_usage_percent": lambda v: 0 < v < 100,
    "system:disk_usage_percent": lambda v: 0 < v < 100,
    "system:network_in_bytes": lambda v: v > 0,
    "system:network_out_bytes": lambda v: v > 0,
    "database:pool_connections_in_use": lambda v: v >= 0,
    "database:pool_connections_available": lambda v: v > 2,
    'database:queries_total{type="insert"}': lambda v: v >= 0,
    'database:queries_total{type="select"}': lambda v: v > 0,
    'database:queries_total{type="update"}': lambda v: v >= 0,
    "redis:connected_clients": lambda v: v >= 1,
    "redis:memory_bytes": lambda v: v > 100_000,
    "redis:commands_total": lambda v: v > 0,
    'redis:keys_by_type{type="string"}': lambda v: v == 0,
    'redis:keys_by_type{type="list"}': lambda v: v == 0,
    'redis:keys_by_type{type="hash"}': lambda v: v == 0,
    # Common queries
    "rate(task_queue:completion_rate[1h]) / (rate(task_queue:submission_rate[1h]) + 0.001)": lambda v: 0.3 < v < 1.01,
    "avg(task_queue:processing_time_seconds)": lambda v: 0 < v < 1,
    "sum(task_queue:queue_depth)": lambda v: v >= 0,
    "rate(task_queue:failure_rate[1h])": lambda v: 0 < v < 1,
    "histogram_quantile(0.99, task_queue:processing_time_seconds_bucket)": lambda v: 0 < v < 10,
    # Alert rules: as a healthy queue has them
    "sum(task_queue:queue_depth) > 1000": None,
    'count(up{job="workers"}) == 0': None,
    'up{job="workers"} == 0': None,
    "database:pool_connections_available < 2": None,
    # Service levels
    "sum(rate(task_queue:completion_rate[5m])) / sum(rate(task_queue:submission_rate[5m]))": lambda v: 0.3 < v < 1.01,
    # A scrape that a busy machine does not answer within its second is a failed request, and rightly so.
    AVAILABLE: lambda v: 0.5 < v <= 1,
    "count(workers:healthy) / count(workers:total)": lambda v: v == 1,
}


def test_more_than_a_tenth_that_failed_is_more_than_a_tenth(stage: Scene) -> None:
    """The reference's condition. Until it has looked for five minutes, rate() takes what it did not see for nothing."""
    seen = stage.prometheus.value("rate(task_queue:failure_rate[5m])")
    told = stage.prometheus.value("rate(task_queue:failure_rate[5m]) > 0.1")
    assert seen is not None
    assert 0 < seen < 0.45
    assert told is None or told > 0.1


@pytest.mark.parametrize("expression", list(REFERENCE))
def test_every_expression_of_the_reference_comes_true(stage: Scene, expression: str) -> None:
    right = REFERENCE[expression]
    found = stage.prometheus.value(expression)
    assert (found is None) if right is None else (found is not None and right(found)), found


WORKER_FIGURES = ("utilization_percent", "task_rate", "error_rate", "uptime_seconds", "restart_count")


@pytest.mark.parametrize("name", WORKER_FIGURES)
def test_every_worker_has_its_figures(stage: Scene, name: str) -> None:
    known = {worker.worker_id for worker in stage.q.store.workers.all()}
    found = {one.labels["worker_id"]: one.value for one in stage.prometheus.query(f"worker:{name}")}
    assert set(found) == known
    assert all(math.isfinite(value) for value in found.values())
    listed = {one.labels["instance"]: one.value for one in stage.prometheus.query('up{job="workers"}')}
    assert listed == dict.fromkeys(known, 1)


def test_a_worker_that_ended_tasks_has_an_average_duration(stage: Scene) -> None:
    found = stage.prometheus.query("worker:avg_duration_seconds")
    assert found
    assert all(0 < one.value < 5 for one in found)


def test_the_shares_are_those_of_the_queue(stage: Scene) -> None:
    """Over what Prometheus saw: the wave of 100 tasks, and the ticks of the schedule."""
    rates = stage.figures.get_success_failure_rates(hours=1)
    seen = stage.prometheus.value("task_queue:failure_ratio_5m")
    # It has not seen the first task of each type come, two of which failed.
    low, high = sorted(((rates["failure_count"] - 2) / (rates["total_count"] - 4), rates["failure_rate"]))
    assert seen == pytest.approx((low + high) / 2, rel=0.1)
    retries = stage.figures.get_retry_metrics(hours=1)
    assert stage.prometheus.value("task_queue:retry_ratio_5m") == pytest.approx(retries["retry_rate"], rel=0.15)


def test_counts_are_those_of_the_queue(stage: Scene) -> None:
    counted = stage.figures.get_success_failure_rates(hours=24)
    completed = stage.prometheus.value("task_queue:completion_rate / 60")
    assert completed == pytest.approx(counted["success_count"], abs=5)  # a tick a second goes on meanwhile
    percentiles = stage.figures.get_processing_time_percentiles(hours=1, task_type="work")
    p50 = stage.prometheus.value(
        'histogram_quantile(0.5, sum by (le) (rate(prismq_task_run_seconds_bucket{type="work"}[5m])))'
    )
    assert p50 is not None
    assert 0.01 <= p50 <= 0.05  # the bucket that the median of 20 ms lies in
    assert 0.01 <= percentiles["p50"] <= 0.05
    assert stage.figures.get_queue_depth(status="queued") <= 2
    assert stage.prometheus.value("sum(task_queue:queue_depth)") in (0, 1, 2)


def panels() -> list[tuple[str, str]]:
    """Every expression of every panel, as Grafana would send it."""
    found = []
    for name, text in grafana_kit(KitOptions()).items():
        if name.endswith(".json"):
            dashboard = json.loads(text)
            for panel in dashboard["panels"]:
                for target in panel.get("targets", ()):
                    expression = target["expr"].replace("$__rate_interval", "1m")
                    for variable in ("service", "queue", "worker"):
                        expression = expression.replace(f"${variable}", ".*")
                    found.append((f"{dashboard['title']}: {panel['title']} {target['refId']}", expression))
    return found


# What is empty where all is well, or where the scene has none of it.
MAY_BE_EMPTY = ("Alerts that fire", "API errors", "Lost with their worker", "Dead letters, last hour")


@pytest.mark.parametrize(("title", "expression"), panels(), ids=[title for title, _ in panels()])
def test_every_panel_has_something_to_show(stage: Scene, title: str, expression: str) -> None:
    found = stage.prometheus.query(expression)
    if not any(word in title for word in MAY_BE_EMPTY):
        assert found, expression
        assert any(math.isfinite(one.value) for one in found), found


def test_prometheus_evaluates_every_rule_without_an_error(stage: Scene) -> None:
    def evaluated() -> bool:
        groups = stage.prometheus.get("/api/v1/rules")["data"]["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    wait_until(evaluated, "every rule was evaluated", 30)
    groups = stage.prometheus.get("/api/v1/rules")["data"]["groups"]
    bad = [(rule["name"], rule.get("lastError")) for g in groups for rule in g["rules"] if rule["health"] != "ok"]
    assert bad == []


def test_alertmanager_is_told_and_tells_whoever_is_to_come(stage: Scene) -> None:
    """40 of 100 tasks failed: 40 times what the promise of 99 % allows."""
    wait_until(lambda: stage.told.alerts("ErrorBudgetBurnFast"), "the page arrives", 60, every_s=0.1)
    alert = stage.told.alerts("ErrorBudgetBurnFast")[0]
    assert alert["receiver"] == "page"
    assert alert["labels"] == {
        "alertname": "ErrorBudgetBurnFast", "severity": "page", "service": "prismq", "slo": "success",
    }  # fmt: skip
    assert alert["annotations"]["runbook_url"] == "docs/runbooks.md#errorbudgetburnfast"
    assert "success burns its error budget at" in alert["annotations"]["summary"]
    dog = {"filter": 'alertname="Watchdog"'}
    wait_until(lambda: stage.alertmanager.get("/api/v2/alerts", **dog), "the watchdog is heard", 30, every_s=0.1)
    # Who is told of the fast one is not told of the slow one.
    slow = [
        one
        for one in stage.alertmanager.get("/api/v2/alerts", filter='alertname="ErrorBudgetBurnSlow"')
        if one["labels"]["slo"] == "success"
    ]
    assert all(one["status"]["state"] == "suppressed" for one in slow)
    assert stage.told.alerts("ErrorBudgetBurnSlow") == []


def test_a_planted_fault_is_told_and_so_is_its_end(stage: Scene) -> None:
    """A task of a type that no worker knows."""
    handle = stage.q.enqueue("unheard-of", queue="nobody", delay=0)
    found = wait_until(lambda: stage.told.alerts("QueueUnserved"), "the page arrives", 60, every_s=0.1)
    assert found[0]["labels"]["queue"] == "nobody"
    assert found[0]["receiver"] == "page"
    assert found[0]["annotations"]["summary"] == "1 task of the queue nobody wait and no live worker takes them"
    stage.q.tasks.cancel(handle.id)
    gone = wait_until(lambda: stage.told.alerts("QueueUnserved", "resolved"), "its end is told", 60, every_s=0.1)
    assert gone[0]["labels"] == found[0]["labels"]
