"""Each rule before promtool: alerts with figures that must make them fire, and with figures that must not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from prismq.config.alerts import SloConfig
from prismq.observability.alerts.definitions import ALERTS, BY_NAME
from prismq.observability.exposition.definitions import METRICS
from prismq.observability.exposition.metric import Kind
from prismq.observability.kit.alerting import FOREIGN, alert_groups
from prismq.observability.kit.conditions import FIGURES, REASONS
from prismq.observability.kit.grafana import grafana_kit
from prismq.observability.kit.options import KitOptions
from prismq.observability.kit.prometheus import TOKEN_PLACEHOLDER, prometheus_kit, recorded
from tests.helpers.packages import require

OPTIONS = KitOptions(webhook="http://127.0.0.1:1/", slack_file="slack.url", backup_interval_s=3600)
RULES = [rule for group in alert_groups(OPTIONS) for rule in group["rules"]]
RECORDED = [rule for group in recorded(OPTIONS, [rule["expr"] for rule in RULES]) for rule in group.rules]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    for name, text in prometheus_kit(OPTIONS).items():
        (folder / name).write_text(text)
    (folder / "prismq.token").write_text(TOKEN_PLACEHOLDER)
    (folder / "slack.url").write_text("http://127.0.0.1:1/")
    return folder


def run(program: str, package: str, *arguments: str, folder: Path) -> str:
    """What it says. AssertionError where it does not like what it is given."""
    done = subprocess.run(
        [require(program, package=package), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promtool(folder: Path, *arguments: str) -> str:
    return run("promtool", "prometheus", *arguments, folder=folder)


# -- the files


def test_promtool_takes_the_configuration_and_its_rules(kit: Path) -> None:
    assert "SUCCESS: 2 rule files found" in promtool(kit, "check", "config", "prometheus.yml")
    said = promtool(kit, "check", "rules", "recording_rules.yml", "alert_rules.yml")
    assert f"SUCCESS: {len(RECORDED)} rules found" in said
    assert f"SUCCESS: {len(RULES)} rules found" in said


def test_amtool_takes_the_routing(kit: Path) -> None:
    said = run("amtool", "prometheus-alertmanager", "check-config", "alertmanager.yml", folder=kit)
    assert "SUCCESS" in said


@pytest.mark.parametrize(
    ("labels", "to"),
    [
        ({"alertname": "QueueUnserved", "severity": "page"}, "page"),
        ({"alertname": "BacklogGrowing", "severity": "ticket"}, "ticket"),
        ({"alertname": "HighQueueDepth", "severity": "info"}, "info"),
        ({"alertname": "Watchdog", "severity": "info"}, "watchdog"),
        ({"alertname": "SomebodyElses"}, "ticket"),
    ],
)
def test_everybody_hears_of_what_is_theirs(kit: Path, labels: dict[str, str], to: str) -> None:
    given = [f"{name}={value}" for name, value in labels.items()]
    said = run(
        "amtool", "prometheus-alertmanager", "config", "routes", "test", "--config.file=alertmanager.yml", *given,
        folder=kit,
    )  # fmt: skip
    assert said.split() == [to]


# -- nothing that there is not

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(?::[a-zA-Z0-9_]+)*(?=\{|\[|\)| |,|$|/|\*)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_LABELS = re.compile(r"\{[^}]*\}|\b(?:by|on|without|ignoring|group_left|group_right) \([^)]*\)|\[[^\]]*\]")
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "on", "d"}


def names_in(expression: str) -> set[str]:
    """The names of series that an expression asks for."""
    plain = _LABELS.sub(" ", _QUOTED.sub('""', expression))
    found = set()
    for match in re.finditer(r"[a-zA-Z_:][a-zA-Z0-9_:]*", plain):
        after = plain[match.end() :].lstrip()
        before = plain[: match.start()]
        if match[0] in _WORDS or after.startswith("(") or re.search(r"[0-9.]$", before):
            continue
        found.add(match[0])
    return found


def all_series() -> set[str]:
    """What the page of metrics can have, as Prometheus stores it."""
    found = set()
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            found |= {f"{metric.name}{suffix}" for suffix in ("_bucket", "_count", "_sum")}
        else:
            found.add(metric.name)
    return found


def test_the_names_in_an_expression_are_found() -> None:
    expression = 'sum by (a) (rate(foo_total{x="bar"}[5m])) / on (b) a:b or ALERTS{alertname="x"} offset 10m > 1e3'
    assert names_in(expression) == {"foo_total", "a:b", "ALERTS"}


def panel_expressions() -> list[str]:
    import json

    return [
        target["expr"]
        for name, text in grafana_kit(OPTIONS).items()
        if name.endswith(".json")
        for panel in json.loads(text)["panels"]
        for target in panel.get("targets", ())
    ]


def test_every_name_in_any_expression_is_a_metric_or_is_recorded() -> None:
    known = all_series() | {rule.name for rule in RECORDED} | {"up", "ALERTS", *FOREIGN}
    expressions = [*(rule.expression for rule in RECORDED), *(rule["expr"] for rule in RULES), *panel_expressions()]
    assert len(expressions) > 150
    for expression in expressions:
        assert names_in(expression) or expression == "vector(1)", expression
        assert names_in(expression) <= known, expression


def test_every_alert_of_the_table_has_an_expression_or_a_reason() -> None:
    assert set(FIGURES) | set(REASONS) == set(BY_NAME)
    assert not set(FIGURES) & set(REASONS)
    for rule in RULES:
        alert = BY_NAME.get(rule["alert"])
        if alert is not None:
            assert rule["labels"]["severity"] == alert.severity
            assert rule["annotations"]["runbook_url"].endswith(alert.runbook.partition("#")[2])


def test_no_placeholder_is_left_in_what_people_read() -> None:
    for rule in RULES:
        for text in rule["annotations"].values():
            assert not re.search(r"(?<!\{)\{[a-z_]+\}(?!\})|\{detail\}", text), text
            assert "  " not in text


# -- what is recorded

Series = dict[str, str]
_PAIR = 'queue="q",type="t"'


def _finished(completed: str, failed: str, dead: str = "0x9999", pair: str = _PAIR) -> Series:
    return {
        f'prismq_tasks_finished_total{{{pair},outcome="{outcome}"}}': values
        for outcome, values in (("completed", completed), ("failed", failed), ("dead_letter", dead))
    }


Document = dict[str, Any]


def _tests(kit: Path, tests: list[Document], *, of: str | None = None, every: str = "15s") -> None:
    """Have promtool run them. `of`: with this alert's rule and what it is made of alone, which takes much less time."""
    files = ["recording_rules.yml", "alert_rules.yml"] if of is None else [_only(kit, of)]
    document = {"rule_files": files, "evaluation_interval": every, "tests": tests}
    (kit / "tests.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    assert "SUCCESS" in promtool(kit, "test", "rules", "tests.yml")


def _only(kit: Path, alert: str) -> str:
    """A file with the alert as the kit has it, and with the rules whose series it asks for."""
    groups = [
        group
        for name in ("recording_rules.yml", "alert_rules.yml")
        for group in yaml.safe_load((kit / name).read_text())["groups"]
    ]
    rules = [rule for group in groups for rule in group["rules"]]
    wanted, asked = {alert}, [alert]
    while asked:
        name = asked.pop()
        for rule in rules:
            if name in (rule.get("record"), rule.get("alert")):
                more = names_in(rule["expr"]) - wanted
                wanted |= more
                asked += more
    kept = [
        {**group, "rules": [rule for rule in group["rules"] if wanted & {rule.get("record"), rule.get("alert")}]}
        for group in groups
    ]
    (kit / f"{alert}.yml").write_text(yaml.safe_dump({"groups": kept}, sort_keys=False))
    return f"{alert}.yml"


def _series(figures: Series) -> list[dict[str, str]]:
    """Each as two servers of one queue would tell it: nothing may count twice."""
    return [
        {"series": _labelled(name, f'service="s",instance="{instance}",job="task-queue"'), "values": values}
        for name, values in figures.items()
        for instance in ("one", "two")
    ]


def _labelled(name: str, labels: str) -> str:
    return f"{name[:-1]},{labels}}}" if name.endswith("}") else f"{name}{{{labels}}}"


EXPECTED = {
    # 10 tasks every 15 s are 40 a minute; 3 of 4 that end complete.
    "rate(task_queue:submission_rate[5m])": 40,
    "rate(task_queue:completion_rate[5m])": 12,
    "rate(task_queue:failure_rate[5m])": 0.25,
    "rate(task_queue:failure_rate[1h])": 0.25,
    "rate(task_queue:retry_rate[5m])": 0.5,
    "rate(task_queue:timeout_rate[5m])": 0.1,
    "sum(rate(task_queue:completion_rate[5m])) / sum(rate(task_queue:submission_rate[5m]))": 0.3,
    "histogram_quantile(0.99, task_queue:processing_time_seconds_bucket)": 2.4775,
    "avg(task_queue:processing_time_seconds)": 1.5,
    "sum(task_queue:queue_depth)": 7,
    'task_queue:queue_depth{priority="high"}': 5,
    "count(workers:healthy) / count(workers:total)": 0.5,
    'count(up{job="workers"})': 2,
    'count(up{job="workers"} == 0)': 1,
    'worker:utilization_percent{worker_id="a"}': 75,
    'worker:task_rate{worker_id="a"}': 8,
    'worker:avg_duration_seconds{worker_id="a"}': 3,
    'worker:error_rate{worker_id="a"}': 0.5,
    'worker:uptime_seconds{worker_id="a"}': 7200,
    'sum(rate(api:requests{status=~"2.."}[5m])) / sum(rate(api:requests[5m]))': 0.9,
    "max(system:memory_usage_percent)": 75,
    "max(system:cpu_usage_percent)": 80,
    'slo:burn_rate{slo="success",window="1h"}': 25,
    'slo:burn_rate{slo="workers",window="1h"}': 10,
    'slo:burn_rate{slo="api",window="1h"}': 100,
    'slo:bad_ratio{slo="processing",window="1h"}': 0,
}


def test_what_is_recorded_means_what_the_reference_says(kit: Path) -> None:
    figures: Series = {
        f"prismq_tasks_enqueued_total{{{_PAIR}}}": "0+10x480",
        **_finished("0+3x480", "0+1x480"),
        f"prismq_finished_task_retried_total{{{_PAIR}}}": "0+2x480",
        f"prismq_task_timeouts_total{{{_PAIR}}}": "0+1x480",
        f"prismq_task_wait_seconds_count{{{_PAIR}}}": "0+10x480",
        f'prismq_task_run_seconds_bucket{{{_PAIR},le="1.0"}}': "0+1x480",
        f'prismq_task_run_seconds_bucket{{{_PAIR},le="2.5"}}': "0+3x480",
        f'prismq_task_run_seconds_bucket{{{_PAIR},le="30.0"}}': "0+3x480",
        f'prismq_task_run_seconds_bucket{{{_PAIR},le="+Inf"}}': "0+3x480",
        f"prismq_task_run_seconds_count{{{_PAIR}}}": "0+3x480",
        f"prismq_task_run_seconds_sum{{{_PAIR}}}": "0+4.5x480",
        'prismq_queue_tasks{queue="q",status="queued",priority="high"}': "5x480",
        'prismq_queue_tasks{queue="r",status="queued",priority="low"}': "2x480",
        'prismq_queue_tasks{queue="q",status="completed",priority="high"}': "900x480",
        'prismq_worker_status{worker_id="a",status="active"}': "1x480",
        'prismq_worker_status{worker_id="b",status="silent"}': "1x480",
        'prismq_worker_healthy{worker_id="a"}': "1x480",
        'prismq_worker_healthy{worker_id="b"}': "0x480",
        'prismq_worker_up{worker_id="a"}': "1x480",
        'prismq_worker_up{worker_id="b"}': "0x480",
        'prismq_worker_slots{worker_id="a"}': "4x480",
        'prismq_worker_busy_slots{worker_id="a"}': "3x480",
        'prismq_worker_tasks_finished_total{worker_id="a",outcome="completed"}': "0+2x480",
        'prismq_worker_tasks_finished_total{worker_id="a",outcome="failed"}': "0x480",
        'prismq_worker_task_retries_total{worker_id="a"}': "0+2x480",
        'prismq_worker_run_seconds_total{worker_id="a"}': "0+12x480",
        'prismq_worker_start_timestamp_seconds{worker_id="a"}': "0x480",
        'prismq_worker_restarts{worker_id="a"}': "0x480",
        'prismq_http_requests_total{method="GET",route="/api/v1/tasks",status="200"}': "0+9x480",
        'prismq_http_requests_total{method="GET",route="/api/v1/tasks",status="500"}': "0+1x480",
        'prismq_http_requests_total{method="GET",route="/api/v1/tasks",status="404"}': "0+50x480",
        'prismq_http_requests_total{method="GET",route="/health",status="503"}': "0+50x480",
        "prismq_system_memory_size_bytes": "1000x480",
        "prismq_system_memory_available_bytes": "250x480",
        'prismq_system_cpu_seconds_total{mode="idle"}': "0+3x480",
        'prismq_system_cpu_seconds_total{mode="user"}': "0+12x480",
        "up": "1x480",
    }
    checks = [
        {"expr": f"round({expression}, 0.0001)", "eval_time": "2h", "exp_samples": [{"labels": "{}", "value": value}]}
        for expression, value in EXPECTED.items()
    ]
    for check in checks:  # whose labels they are is no matter here
        check["expr"] = f"max({check['expr']})"
    _tests(kit, [{"interval": "15s", "input_series": _series(figures), "promql_expr_test": checks}])


def test_a_service_that_cannot_be_scraped_is_no_available_one(kit: Path) -> None:
    """Half of the last five minutes nobody answered."""
    answered = 'prismq_http_requests_total{method="GET",route="/metrics",status="200"}'
    figures: Series = {answered: "0+1x70 _x10", "up": "1x70 0x10"}
    expression = 'sum(rate(api:requests{status=~"2.."}[5m])) / sum(rate(api:requests[5m]))'
    check = {
        "expr": f"round({expression}, 0.1)",
        "eval_time": "20m",
        "exp_samples": [{"labels": "{}", "value": 0.5}],
    }
    _tests(kit, [{"interval": "15s", "input_series": _series(figures), "promql_expr_test": [check]}])


# -- alerts


class Case(NamedTuple):
    """Figures that make an alert fire at a time, and such that do not. In minutes."""

    fires: Series
    quiet: Series
    at: str = "30m"


GIB = 1024**3
_N = 120  # samples, one a minute
_ACTIVE = 'prismq_workers{status="active"}'
_LOST = f"prismq_task_leases_lost_total{{{_PAIR}}}"
_CRASHES = f"prismq_task_crashes_max{{{_PAIR}}}"
_CANARY = 'prismq_canary_waiting_seconds{queue="q"}'
_TOLD = 'prismq_alert_instances{{alert="{}"}}'
_PAGE = "prismq_metrics_collect_seconds"
_WORKER = 'worker_id="a"'
_SCHEDULE = 'schedule="nightly"'
_OLDEST = "prismq_queue_oldest_ready_seconds"
_READY = 'status="queued",priority="normal"'
_HERE: Series = {"up": f"1x{_N}"}


def _silent(seconds: int) -> Series:
    """A worker whose last heartbeat was so long ago, at 30 minutes."""
    return {
        f"prismq_worker_heartbeat_timestamp_seconds{{{_WORKER}}}": f"{1800 - seconds}x{_N}",
        f"prismq_worker_up{{{_WORKER}}}": f"{int(seconds < 60)}x{_N}",
        f"prismq_worker_start_timestamp_seconds{{{_WORKER}}}": f"0x{_N}",
    }


def _schedule(due: int, succeeded: int, interval: int = 300) -> Series:
    return {
        f"prismq_schedule_next_due_timestamp_seconds{{{_SCHEDULE}}}": f"{due}x{_N}",
        f"prismq_schedule_last_success_timestamp_seconds{{{_SCHEDULE}}}": f"{succeeded}x{_N}",
        f"prismq_schedule_interval_seconds{{{_SCHEDULE}}}": f"{interval}x{_N}",
        f"prismq_schedule_paused{{{_SCHEDULE}}}": f"0x{_N}",
    }


def _running(seconds: int, *, others: int, pair: str = _PAIR) -> Series:
    """A task that has run for so long; so many others ran for less than a second."""
    return {
        f"prismq_task_longest_run_seconds{{{pair}}}": f"{seconds}x{_N}",
        f'prismq_task_run_seconds_bucket{{{pair},le="1.0"}}': f"{others}x{_N}",
        f'prismq_task_run_seconds_bucket{{{pair},le="+Inf"}}': f"{others}x{_N}",
        f"prismq_task_run_seconds_count{{{pair}}}": f"{others}x{_N}",
    }


def _free(bytes_: int) -> Series:
    return {"prismq_system_disk_free_bytes": f"{bytes_}x{_N}"}


def _wal(bytes_: int) -> Series:
    return {"prismq_database_wal_bytes": f"{bytes_}x{_N}", "prismq_system_disk_size_bytes": f"{100 * GIB}x{_N}"}


def _pool(available: int, in_use: int) -> Series:
    return {
        'prismq_database_pool_connections{state="available"}': f"{available}x{_N}",
        'prismq_database_pool_connections{state="in_use"}': f"{in_use}x{_N}",
    }


CASES: dict[str, Case] = {
    "OldestTaskOverTarget": Case(
        {f'{_OLDEST}{{queue="q"}}': f"301x{_N}"},
        {
            # At the limit; paused; promised later, and that is kept.
            f'{_OLDEST}{{queue="q"}}': f"300x{_N}",
            f'{_OLDEST}{{queue="off"}}': f"900x{_N}",
            'prismq_queue_paused{queue="off"}': f"1x{_N}",
            f'{_OLDEST}{{queue="within_1_hour"}}': f"3000x{_N}",
            'prismq_queue_promise_seconds{queue="within_1_hour"}': f"3600x{_N}",
        },
    ),
    "BacklogGrowing": Case(
        # 1,000 and growing, at four tasks a minute: more than four hours. At a hundred it takes less than half of one.
        {f'prismq_queue_tasks{{queue="q",{_READY}}}': f"1000+10x{_N}", **_finished(f"0+4x{_N}", f"0x{_N}")},
        {f'prismq_queue_tasks{{queue="q",{_READY}}}': f"1000+10x{_N}", **_finished(f"0+100x{_N}", f"0x{_N}")},
        at="60m",
    ),
    "QueueUnserved": Case(
        {'prismq_queue_unserved_tasks{queue="q"}': f"3x{_N}"}, {'prismq_queue_unserved_tasks{queue="q"}': f"0x{_N}"}
    ),
    "HighQueueDepth": Case(
        {
            f'prismq_queue_tasks{{queue="q",{_READY}}}': f"600x{_N}",
            f'prismq_queue_tasks{{queue="r",{_READY}}}': f"401x{_N}",
        },
        {f'prismq_queue_tasks{{queue="q",{_READY}}}': f"1000x{_N}"},
    ),
    "HighFailureRate": Case(_finished(f"0+8x{_N}", f"0+2x{_N}"), _finished(f"0+19x{_N}", f"0+1x{_N}")),
    "FailureRateAboveBaseline": Case(
        # 1 % for five hours, then 20 %.
        _finished("0+99x300 29700+80x25", "0+1x300 300+20x25"),
        _finished("0+80x325", "0+20x325"),
        at="315m",
    ),
    "DeadLettersGrew": Case(
        _finished(f"0x{_N}", f"0x{_N}", f"5x25 6x{_N}"), _finished(f"0+5x{_N}", f"0+1x{_N}", f"5x{_N}")
    ),
    "LeasesLost": Case({_LOST: f"3x25 4x{_N}"}, {_LOST: f"3x{_N}"}),
    # One task twice; and eight tasks that were lost at once, each for the first time.
    "PoisonTask": Case({_CRASHES: f"0x20 1x5 2x{_N}"}, {_LOST: f"0x25 8x{_N}", _CRASHES: f"0x25 1x{_N}"}),
    # Of a thousand 99 in 100 ran for a second at most, and one has run for 61. Quiet: nobody knows yet how long they
    # run; it has not run for a minute.
    "TaskRunningLong": Case(
        _running(61, others=1000),
        {**_running(61, others=10), **_running(59, others=1000, pair='queue="q",type="u"')},
    ),
    "NoActiveWorkers": Case(
        {_ACTIVE: f"0x{_N}", f"prismq_tasks_enqueued_total{{{_PAIR}}}": f"5x{_N}"},
        # A worker; and a queue that nobody has used.
        {_ACTIVE: f"1x{_N}", f"prismq_tasks_enqueued_total{{{_PAIR}}}": f"5x{_N}"},
    ),
    "WorkerUnhealthy": Case(_silent(600), _silent(20)),
    "WorkerNotConsuming": Case(
        {f"prismq_worker_not_consuming_seconds{{{_WORKER}}}": f"40x{_N}"},
        {f"prismq_worker_not_consuming_seconds{{{_WORKER}}}": f"0x{_N}"},
    ),
    # At 30 minutes, 1,800 s: due 400 s ago and every 300 s; due 200 s ago.
    "ScheduleMissed": Case(_schedule(1400, 1750), _schedule(1600, 1750)),
    "ScheduleFailing": Case(_schedule(1900, 1000), _schedule(1900, 1400)),
    "CanaryFailed": Case({_CANARY: f"0x20 61x{_N}"}, {_CANARY: f"0x20 60x{_N}"}),
    "ErrorBudgetBurnFast": Case(_finished(f"0+80x{_N}", f"0+20x{_N}"), _finished(f"0+90x{_N}", f"0+10x{_N}"), at="70m"),
    "ErrorBudgetBurnSlow": Case(_finished(f"0+90x{_N}", f"0+10x{_N}"), _finished(f"0+96x{_N}", f"0+4x{_N}"), at="70m"),
    "DatabaseSlow": Case(
        {"prismq_database_response_seconds": f"1.5x{_N}"}, {"prismq_database_response_seconds": f"0.9x{_N}"}
    ),
    # A pool of one, at rest, has one to spare.
    "DatabaseConnectionPoolExhausted": Case(_pool(1, 7), _pool(1, 0)),
    "DiskAlmostFull": Case(_free(GIB // 16), _free(GIB // 4)),
    "DiskFillingUp": Case(_free(GIB // 2), _free(2 * GIB)),
    # On PostgreSQL the log may be large, and the disk is out of sight.
    "WalTooLarge": Case(_wal(GIB), _wal(GIB // 5)),
    "DatabaseFault": Case({_TOLD.format("DatabaseFault"): f"1x{_N}"}, {_TOLD.format("DatabaseFault"): f"0x{_N}"}),
    "BackupBroken": Case({_TOLD.format("BackupBroken"): f"1x{_N}"}, {_TOLD.format("BackupTooOld"): f"1x{_N}"}),
    "RedisDown": Case({"prismq_redis_up": f"0x{_N}"}, {"prismq_redis_up": f"1x{_N}"}),
    "BackupTooOld": Case(
        {"prismq_backup_last_success_timestamp_seconds": f"0x{3 * _N}"},
        {"prismq_backup_last_success_timestamp_seconds": f"7200x{3 * _N}"},
        at="150m",
    ),
    "MetricsUnreachable": Case({"up": f"0x{_N}"}, {"up": f"1x{_N}"}),
    "MetricsAbsent": Case({"prismq_build_info": f"1x{_N}"}, {"up": f"1x{_N}", _ACTIVE: f"1x{_N}"}),
    "MonitoringFailing": Case(
        {"prometheus_rule_evaluation_failures_total": f"0+1x{_N}"},
        {
            "prometheus_rule_evaluation_failures_total": f"7x{_N}",
            "prometheus_notifications_alertmanagers_discovered": f"1x{_N}",
        },
    ),
}


def test_every_alert_rule_has_its_case() -> None:
    # ServerDown has two servers that differ, and Watchdog always fires: see below.
    assert set(CASES) == {rule["alert"] for rule in RULES} - {"ServerDown", "Watchdog"}


def _identity(name: str) -> str:
    """A selector of the labels that tell its instances apart, each with a value: inhibition asks for them."""
    if name == "MetricsAbsent":  # what is not there says not whose it is
        return ',service=""'
    per = FIGURES[name](BY_NAME[name]).per if name in FIGURES else ()
    # The levels of all queues together have no queue.
    own = ("service", *(label for label in per if not name.startswith("ErrorBudgetBurn") or label != "queue"))
    return "".join(f',{label}!=""' for label in own)


def _case(name: str, figures: Series, at: str, *, fires: bool) -> Document:
    here = figures if name.startswith("Metrics") else {**_HERE, _PAGE: f"0.01x{_N}", **figures}
    told = _identity(name) if fires else ""
    return {
        "name": f"{name} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": _series(here),
        "promql_expr_test": [
            {
                "expr": f'clamp_max(count(ALERTS{{alertname="{name}",alertstate="firing"{told}}}), 1) or vector(0)',
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


@pytest.mark.parametrize("name", CASES)
def test_each_alert_fires_where_it_must_and_nowhere_else(kit: Path, name: str) -> None:
    case = CASES[name]
    both = [_case(name, case.fires, case.at, fires=True), _case(name, case.quiet, case.at, fires=False)]
    _tests(kit, both, of=name, every="1m")


def _firing(name: str, at: str, expected: int) -> Document:
    return {
        "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
        "eval_time": at,
        "exp_samples": [{"labels": "{}", "value": expected}],
    }


# What comes in one scrape, at 25 minutes: 200 dead letters of a type that nobody has heard of.
_FIRST: dict[str, Series] = {
    "DeadLettersGrew": _finished("0", "0", "200"),
    "HighFailureRate": _finished("0", "0", "200"),
    "LeasesLost": {_LOST: "3"},
    "ErrorBudgetBurnFast": _finished("0", "0", "200"),
    "ErrorBudgetBurnSlow": _finished("0", "0", "200"),
}


@pytest.mark.parametrize("name", _FIRST)
def test_a_type_that_comes_with_many_failures_is_told(kit: Path, name: str) -> None:
    # A failure rate has to last for five minutes: here from the first scrape on, the second comes a minute later.
    more, at = ("+10", "30m45s") if name == "HighFailureRate" else ("+0", "27m")
    figures = {series: f"_x25 {value}{more if value != '0' else '+0'}x100" for series, value in _FIRST[name].items()}
    _tests(kit, [_case(name, {**figures, _PAGE: "0.01x125"}, at, fires=True)], of=name)


@pytest.mark.parametrize("name", _FIRST)
@pytest.mark.parametrize("values", ["_x25 {}x100", "{}x15 stale _x8 {}x100"], ids=["it begins", "nobody answered"])
def test_what_is_old_when_prometheus_looks_is_not_told(kit: Path, name: str, values: str) -> None:
    """Whoever has just begun to look, or looks again, does not know when those were that are there."""
    figures = {series: values.replace("{}", value) for series, value in _FIRST[name].items()}
    figures[_PAGE] = values.replace("{}", "0.01")
    cases = [_case(name, figures, f"{minute}m", fires=False) for minute in (26, 31, 36, 60, 90)]
    _tests(kit, cases, of=name)


def test_growth_is_exact_while_a_type_comes_and_one_server_takes_over_from_another(kit: Path) -> None:
    """5 of an old type, and 7 of a new one."""
    old, new = (f'prismq_tasks_finished_total{{queue="q",type="{name}",outcome="dead_letter"}}' for name in "on")
    told = {
        "one": {old: "100x60 stale", _PAGE: "1x60 stale"},
        "two": {old: "_x62 102x10 105x30", new: "_x75 3x5 7x30", _PAGE: "_x62 1x50"},
    }
    series = [
        {"series": _labelled(name, f'service="s",instance="{server}",job="task-queue"'), "values": values}
        for server, figures in told.items()
        for name, values in figures.items()
    ]
    check = {
        "expr": 'sum by (type) (grown:tasks_finished_total{window="10m",outcome="dead_letter"})',
        "eval_time": "22m",
        "exp_samples": [{"labels": '{type="o"}', "value": 5}, {"labels": '{type="n"}', "value": 7}],
    }
    _tests(kit, [{"interval": "15s", "input_series": series, "promql_expr_test": [check]}], of="DeadLettersGrew")


def test_an_alert_waits_keeps_on_and_ends_as_the_table_says(kit: Path) -> None:
    """Above 1,000 for 5 minutes; at 900 it goes on, for it clears at 800 alone, and 5 minutes after that."""
    values = "1200x40 900x40 700x80"
    figures = {**_HERE, f'prismq_queue_tasks{{queue="q",{_READY}}}': values}
    checks = [_firing("HighQueueDepth", at, n) for at, n in (("4m", 0), ("6m", 1), ("19m", 1), ("24m", 1), ("26m", 0))]
    _tests(kit, [{"interval": "15s", "input_series": _series(figures), "promql_expr_test": checks}])


def test_what_is_said_names_what_it_is_about(kit: Path) -> None:
    figures = {**_HERE, 'prismq_queue_unserved_tasks{queue="mail"}': "12x100"}
    alert = BY_NAME["QueueUnserved"]
    expected = {
        "eval_time": "10m",
        "alertname": "QueueUnserved",
        "exp_alerts": [
            {
                "exp_labels": {"severity": "page", "service": "s", "queue": "mail"},
                "exp_annotations": {
                    "summary": "12 tasks of the queue mail wait and no live worker takes them",
                    "description": "Start a worker that serves the queue and knows the type, or pause the queue if it "
                    "is meant to wait.",
                    "runbook_url": alert.runbook,
                    "dashboard_url": OPTIONS.dashboard,
                },
            }
        ],
    }
    _tests(kit, [{"interval": "15s", "input_series": _series(figures), "alert_rule_test": [expected]}])


def test_one_server_of_two_that_is_down_is_no_page(kit: Path) -> None:
    series = [
        {"series": f'up{{service="s",job="task-queue",instance="{name}"}}', "values": f"{value}x100"}
        for name, value in (("one", 1), ("two", 0))
    ]
    checks = [_firing("ServerDown", "20m", 1), _firing("MetricsUnreachable", "20m", 0), _firing("Watchdog", "1m", 1)]
    _tests(kit, [{"interval": "15s", "input_series": series, "promql_expr_test": checks}])


def test_the_log_of_a_postgresql_server_may_be_large(kit: Path) -> None:
    figures = {**_HERE, "prismq_database_wal_bytes": f"{GIB}x{_N}"}
    _tests(
        kit,
        [{"interval": "1m", "input_series": _series(figures), "promql_expr_test": [_firing("WalTooLarge", "30m", 0)]}],
        of="WalTooLarge",
        every="1m",
    )


def _starts(in_time: str, started: str) -> Series:
    """Of a queue with a promise, and of one without."""
    return {
        'prismq_queue_starts_in_time_total{queue="within_5_minutes"}': in_time,
        'prismq_task_wait_seconds_count{queue="within_5_minutes",type="a"}': started,
        'prismq_task_wait_seconds_count{queue="within_5_minutes",type="b"}': started,
        'prismq_task_wait_seconds_count{queue="q",type="a"}': "0+100x300",
        _PAGE: "0.01x300",
        "up": "1x300",
    }


@pytest.mark.parametrize(
    ("in_time", "fires"),
    [
        # Of 20 a minute one starts late: 5 times what may be. Of 20 a minute five: 25 times.
        ("0+19x300", 0),
        ("0+15x300", 1),
        # The promise was made stricter at 50 minutes: of what was before fewer were in time, of what is now all are.
        ("0+20x50 500+20x250", 0),
        # It was made softer.
        ("0+19x50 1000+20x250", 0),
    ],
)
def test_a_queue_that_breaks_its_promise_burns_its_budget(kit: Path, in_time: str, fires: int) -> None:
    name = "ErrorBudgetBurnFast"
    checks = [_firing(name, at, fires) for at in ("52m", "70m", "100m")]
    checks.append(
        {
            "expr": f'count(ALERTS{{alertname="{name}",slo="start",queue="within_5_minutes"}}) or vector(0)',
            "eval_time": "70m",
            "exp_samples": [{"labels": "{}", "value": fires}],
        }
    )
    series = _series(_starts(in_time, "0+10x300"))
    _tests(kit, [{"interval": "1m", "input_series": series, "promql_expr_test": checks}], of=name, every="1m")


def test_a_queue_may_have_an_objective_of_its_own(tmp_path: Path) -> None:
    """One of 20 starts late, where 98 of 100 and where half are promised to start in time."""
    promises = {"a.b": {"target_seconds": 60, "objective": 0.5}, "c": {"target_seconds": 60}}
    options = KitOptions(slo=SloConfig(queue_objective=0.98, promises=promises))  # type: ignore[arg-type]
    (tmp_path / "recording_rules.yml").write_text(prometheus_kit(options)["recording_rules.yml"])
    figures: Series = {_PAGE: "1x20"}
    for queue in ("a.b", "axb", "c"):
        figures[f'prismq_queue_starts_in_time_total{{queue="{queue}"}}'] = "0+19x20"
        figures[f'prismq_task_wait_seconds_count{{queue="{queue}",type="t"}}'] = "0+20x20"
    check = {
        "expr": 'round(sum by (queue) (slo:burn_rate{slo="start",window="5m"}), 0.0001)',
        "eval_time": "20m",
        "exp_samples": [
            {"labels": f'{{queue="{queue}"}}', "value": value}
            for queue, value in (("a.b", 0.1), ("axb", 2.5), ("c", 2.5))
        ],
    }
    document = {
        "rule_files": ["recording_rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": _series(figures), "promql_expr_test": [check]}],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(document))
    assert "SUCCESS" in promtool(tmp_path, "test", "rules", "tests.yml")


def test_few_tasks_burn_no_budget(kit: Path) -> None:
    """One of three failed: that says nothing yet."""
    figures = {**_HERE, **_finished("0x100 2x200", "0x100 1x200")}
    checks = [_firing("ErrorBudgetBurnFast", "30m", 0)]
    _tests(kit, [{"interval": "15s", "input_series": _series(figures), "promql_expr_test": checks}])


def test_the_table_is_the_whole_pack() -> None:
    """The reference's five are among them."""
    names = {alert.name for alert in ALERTS}
    assert {
        "HighQueueDepth", "HighFailureRate", "NoActiveWorkers", "WorkerUnhealthy", "DatabaseConnectionPoolExhausted",
    } <= names & set(FIGURES)  # fmt: skip
