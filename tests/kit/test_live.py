"""The kit before the real programs: Prometheus looks at a real server while real workers run, Alertmanager routes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from prismq import PrismQ, QueueMetrics
from prismq.observability.exposition.metric import BUCKETS_S
from prismq.observability.kit.grafana import grafana_kit
from prismq.observability.kit.options import KitOptions
from prismq.storage.contract import Outcomes
from tests.helpers.processes import wait_until
from tests.helpers.prometheus import Monitoring, Receiver
from tests.kit.scene import TYPES, scene


class Stage(NamedTuple):
    """The scene, and a time at which Prometheus had seen all that was done."""

    q: PrismQ
    figures: QueueMetrics
    prometheus: Monitoring
    alertmanager: Monitoring
    told: Receiver
    at: float


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A wave of tasks has been done while Prometheus looked: of 300, 100 failed, 20 needed a second attempt. Others
    wait in a queue that is paused."""
    with scene(tmp_path_factory.mktemp("stage")) as found:
        found.q.store.queues.pause("parked", "test", found.q.clock.now())
        for priority, tasks in PARKED.items():
            for _ in range(tasks):
                found.q.enqueue("work", {"seconds": 0}, queue="parked", priority=priority)
        found.q.enqueue("work", {"seconds": 0}, queue="parked", delay=3600)
        found.run(work=178, stumble=20, breaks=100, late=2)
        found.prometheus.when(f"sum({FINISHED})", lambda value: value == 304)
        # What is recorded of it comes with the next evaluation of each group, of which these are the last; until then
        # it is that of the first few tasks.
        seen_at = found.prometheus.value("time()")
        assert seen_at is not None
        for last in ("task_queue:queue_depth", "worker:restart_count", "api:requests"):
            found.prometheus.when(f"min(timestamp({last}))", lambda value: value > seen_at)
        for share in ("failure", "retry", "timeout"):
            found.prometheus.when(f"rate(task_queue:{share}_rate[5m])", lambda value: value > 0)
        found.prometheus.when(AVAILABLE, lambda value: value > 0)
        at = found.prometheus.value("time()")
        assert at is not None
        yield Stage(found.q, found.figures, found.prometheus, found.alertmanager, found.told, at)


PARKED = {50: 3, 100: 5, 150: 2}
APP = 'queue=~"work|break|stumble|late"'
FINISHED = f'grown:tasks_finished_total{{window="5m",{APP}}}'
AVAILABLE = 'sum(rate(api:requests{status=~"2.."}[5m])) / sum(rate(api:requests[5m]))'

# Every query, alert and service level that the reference prints. What has to come out: a number, or None where a
# healthy queue has nothing to show.
REFERENCE = {
    "task_queue:submission_rate": lambda v: v >= 60 * 304,
    "task_queue:completion_rate": lambda v: v >= 60 * 199,
    "task_queue:failure_rate": lambda v: v > 0,
    "task_queue:retry_rate": lambda v: v > 0,
    "task_queue:timeout_rate": lambda v: v > 0,
    'task_queue:queue_depth{priority="high"}': lambda v: v == 3,
    'task_queue:queue_depth{priority="normal"}': lambda v: v >= 5,
    'task_queue:queue_depth{priority="low"}': lambda v: v == 2,
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
    "sum(task_queue:queue_depth)": lambda v: v >= 10,
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


def test_more_than_a_tenth_that_failed_is_more_than_a_tenth(stage: Stage) -> None:
    """The reference's condition. Until it has looked for five minutes, rate() takes what it did not see for nothing."""
    seen = stage.prometheus.value("rate(task_queue:failure_rate[5m])")
    told = stage.prometheus.value("rate(task_queue:failure_rate[5m]) > 0.1")
    assert seen is not None
    assert 0 < seen < 0.45
    assert told is None or told > 0.1


@pytest.mark.parametrize("expression", list(REFERENCE))
def test_every_expression_of_the_reference_comes_true(stage: Stage, expression: str) -> None:
    right = REFERENCE[expression]
    found = stage.prometheus.value(expression)
    assert (found is None) if right is None else (found is not None and right(found)), found


WORKER_FIGURES = ("utilization_percent", "task_rate", "error_rate", "uptime_seconds", "restart_count")


@pytest.mark.parametrize("name", WORKER_FIGURES)
def test_every_worker_has_its_figures(stage: Stage, name: str) -> None:
    known = {worker.worker_id for worker in stage.q.store.workers.all()}
    found = {one.labels["worker_id"]: one.value for one in stage.prometheus.query(f"worker:{name}")}
    assert set(found) == known
    assert all(math.isfinite(value) for value in found.values())
    listed = {one.labels["instance"]: one.value for one in stage.prometheus.query('up{job="workers"}')}
    assert listed == dict.fromkeys(known, 1)


def test_a_worker_that_ended_tasks_has_an_average_duration(stage: Stage) -> None:
    found = stage.prometheus.query("worker:avg_duration_seconds")
    assert found
    assert all(0 < one.value < 5 for one in found)


Counts = dict[tuple[str, ...], float]


def shown(stage: Stage, title: str, *by: str, queue: str = ".*") -> Counts:
    """What a panel shows at the stage's time, by these labels."""
    [expression] = [one for name, one in panels(queue) if name.partition(": ")[2] == f"{title} A"]
    return seen(stage, expression, *by)


def seen(stage: Stage, expression: str, *by: str) -> Counts:
    found = stage.prometheus.query(expression, at=stage.at)
    assert len({tuple(one.labels.get(label, "") for label in by) for one in found}) == len(found)
    return {tuple(one.labels.get(label, "") for label in by): one.value for one in found}


def ended(stage: Stage) -> list[Outcomes]:
    """What the books have of the app's tasks."""
    return [one for one in stage.q.store.insight.totals(stage.q.clock.now()) if one.queue in TYPES]


def summed(pairs: Iterable[tuple[tuple[str, ...], float]]) -> Counts:
    found: Counts = {}
    for key, value in pairs:
        found[key] = found.get(key, 0) + value
    return {key: value for key, value in found.items() if value}


ENDS = ("completed", "failed", "dead_letter")
FAILED = ("failed", "dead_letter")


def test_every_end_is_counted_once_and_from_the_first_on(stage: Stage) -> None:
    expected = summed(((one.type, one.outcome), one.tasks) for one in ended(stage) if one.outcome in ENDS)
    assert sum(expected.values()) == 304
    found = seen(stage, f"sum by (type, outcome) ({FINISHED}) > 0", "type", "outcome")
    assert found == expected
    enqueued = seen(stage, f"sum by (type) (max by (type, queue) (prismq_tasks_enqueued_total{{{APP}}}))", "type")
    assert enqueued == summed(((one.type,), one.tasks) for one in ended(stage) if one.outcome == "enqueued")


def test_tables_of_failures_are_those_of_the_books(stage: Stage) -> None:
    failed = summed(((one.queue, one.type), one.tasks) for one in ended(stage) if one.outcome in FAILED)
    assert sum(failed.values()) == 104
    assert shown(stage, "Failures by type, last hour", "queue", "type") == failed
    dead = summed(((one.queue, one.type), one.tasks) for one in ended(stage) if one.outcome == "dead_letter")
    assert dead
    assert shown(stage, "Dead letters, last hour", "queue", "type") == dead
    stock = {queue: tasks for queue, tasks in shown(stage, "Dead letters in stock", "queue").items() if tasks}
    assert stock == summed(((queue,), tasks) for (queue, _), tasks in dead.items())
    retries = summed(((one.queue, one.type), one.tasks) for one in ended(stage) if one.outcome == "retried")
    assert shown(stage, "Retries by type, last hour", "queue", "type") == retries == {("stumble", "stumble"): 21}


def test_shares_are_those_of_the_books(stage: Stage) -> None:
    tasks = summed(((one.queue,), one.tasks) for one in ended(stage) if one.outcome in ENDS)
    failed = summed(((one.queue,), one.tasks) for one in ended(stage) if one.outcome in FAILED)
    rates = shown(stage, "Failure rate by queue", "queue", queue="work|break|stumble|late")
    assert rates == pytest.approx({queue: failed.get(queue, 0) / number for queue, number in tasks.items()})
    attempts = summed(((one.queue,), one.attempts) for one in ended(stage) if one.outcome in ENDS)
    each = shown(stage, "Attempts per task", "queue", queue="work|break|stumble|late")
    assert each == pytest.approx({queue: attempts[queue] / number for queue, number in tasks.items()})
    retried = summed(((one.queue,), one.retried) for one in ended(stage) if one.outcome in ENDS)
    found = seen(stage, f'sum by (queue) (grown:finished_task_retried_total{{window="5m",{APP}}}) > 0', "queue")
    assert found == retried == {("stumble",): 21}


def test_the_failure_ratio_is_that_of_all_tasks_that_ended_meanwhile(stage: Stage) -> None:
    """Those of the schedule, too, of which Prometheus has seen most."""
    rates = stage.figures.get_success_failure_rates(hours=1)
    ratio = stage.prometheus.query("task_queue:failure_ratio_5m", at=stage.at)[0].value
    # At least the app's own were there; ticks go on after that.
    assert rates["failure_rate"] <= ratio <= 104 / 304


def test_depth_is_that_of_the_queue_by_status_and_priority(stage: Stage) -> None:
    by_status = shown(stage, "Tasks by status", "status", queue="parked")
    depth = stage.q.store.insight.depth()
    expected = summed(((status,), tasks) for (queue, _, status, _), tasks in depth.items() if queue == "parked")
    assert {status: tasks for status, tasks in by_status.items() if tasks} == expected
    assert expected == {("queued",): 10, ("scheduled",): 1}
    one_queue = 'sum by (priority) (max by (queue, priority) (prismq_queue_tasks{queue="parked",status="queued"}))'
    assert seen(stage, one_queue, "priority") == {("high",): 3, ("normal",): 5, ("low",): 2}
    over_all = shown(stage, "Queue depth over time", "priority")
    assert (over_all["high",], over_all["low",]) == (3, 2)


def test_workers_by_status_are_those_that_are_registered(stage: Stage) -> None:
    statuses = summed(((one.status,), 1) for one in stage.q.store.workers.all())
    assert shown(stage, "Workers by status", "status") == statuses == {("active",): 2}
    busy = seen(stage, "sum(prismq_worker_slots)")[()]
    assert busy == sum(one.slots for one in stage.q.store.workers.all())


@pytest.mark.parametrize("part", [0.5, 0.95, 0.99])
def test_percentiles_lie_in_the_bucket_of_the_exact_ones(stage: Stage, part: float) -> None:
    exact = stage.figures.get_processing_time_percentiles(hours=1, task_type="work")[f"p{part * 100:.0f}"]
    buckets = 'grown:task_run_seconds_bucket{window="5m",queue="work",type="work"}'
    found = seen(stage, f"histogram_quantile({part}, sum by (le) ({buckets}))")[()]
    # A value within 2 % of a boundary may be on either side of it; and interpolation keeps to the bucket.
    low = max((bound for bound in BUCKETS_S if bound < exact * 0.98), default=0.0)
    high = min(bound for bound in BUCKETS_S if bound > exact * 1.02)
    assert low <= found <= high, (exact, found)


def panels(queue: str = ".*") -> list[tuple[str, str]]:
    """Every expression of every panel, as Grafana would send it with this queue chosen."""
    found = []
    for name, text in grafana_kit(KitOptions()).items():
        if name.endswith(".json"):
            dashboard = json.loads(text)
            for panel in dashboard["panels"]:
                for target in panel.get("targets", ()):
                    expression = target["expr"].replace("$__rate_interval", "1m")
                    for variable, value in (("service", ".*"), ("queue", queue), ("worker", ".*")):
                        expression = expression.replace(f"${variable}", value)
                    found.append((f"{dashboard['title']}: {panel['title']} {target['refId']}", expression))
    return found


# What is empty where all is well, or where the scene has none of it.
MAY_BE_EMPTY = ("Alerts that fire", "API errors", "Lost with their worker")


@pytest.mark.parametrize(("title", "expression"), panels(), ids=[title for title, _ in panels()])
def test_every_panel_has_something_to_show(stage: Stage, title: str, expression: str) -> None:
    found = stage.prometheus.query(expression)
    if not any(word in title for word in MAY_BE_EMPTY):
        assert found, expression
        assert any(math.isfinite(one.value) for one in found), found


def test_prometheus_evaluates_every_rule_without_an_error(stage: Stage) -> None:
    def evaluated() -> bool:
        groups = stage.prometheus.get("/api/v1/rules")["data"]["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    wait_until(evaluated, "every rule was evaluated", 30)
    groups = stage.prometheus.get("/api/v1/rules")["data"]["groups"]
    bad = [(rule["name"], rule.get("lastError")) for g in groups for rule in g["rules"] if rule["health"] != "ok"]
    assert bad == []


def test_alertmanager_is_told_and_tells_whoever_is_to_come(stage: Stage) -> None:
    """A third of the tasks failed: more than 30 times what the promise of 99 % allows."""
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


def test_a_planted_fault_is_told_and_so_is_its_end(stage: Stage) -> None:
    """A task of a type that no worker knows."""
    handle = stage.q.enqueue("unheard-of", queue="nobody", delay=0)
    found = wait_until(lambda: stage.told.alerts("QueueUnserved"), "the page arrives", 60, every_s=0.1)
    assert found[0]["labels"]["queue"] == "nobody"
    assert found[0]["receiver"] == "page"
    assert found[0]["annotations"]["summary"] == "1 task of the queue nobody wait and no live worker takes them"
    stage.q.tasks.cancel(handle.id)
    gone = wait_until(lambda: stage.told.alerts("QueueUnserved", "resolved"), "its end is told", 60, every_s=0.1)
    assert gone[0]["labels"] == found[0]["labels"]
