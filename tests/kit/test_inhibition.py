"""Who is told of the cause is not told of what follows from it: a real Alertmanager with the kit's configuration."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from prismq.observability.alerts.definitions import BY_NAME
from prismq.observability.kit.conditions import FIGURES
from prismq.observability.kit.options import KitOptions
from prismq.observability.kit.prometheus import prometheus_kit
from tests.helpers.processes import wait_until
from tests.helpers.prometheus import Monitoring, alertmanager, free_port

Labels = dict[str, str]

FOLLOWS = {
    "MetricsUnreachable": ["ServerDown", "MetricsAbsent"],
    "NoActiveWorkers": [
        "QueueUnserved", "OldestTaskOverTarget", "BacklogGrowing", "HighQueueDepth", "ScheduleMissed",
        "ScheduleFailing", "ErrorBudgetBurnFast", "ErrorBudgetBurnSlow",
    ],
    "QueueUnserved": ["OldestTaskOverTarget", "BacklogGrowing"],
    "OldestTaskOverTarget": ["BacklogGrowing"],
    "ErrorBudgetBurnFast": ["ErrorBudgetBurnSlow"],
    "PoisonTask": ["LeasesLost"],
    "HighFailureRate": ["FailureRateAboveBaseline", "DeadLettersGrew"],
    "DiskAlmostFull": ["DiskFillingUp", "WalTooLarge"],
}  # fmt: skip


def labels(name: str, service: str) -> Labels:
    """Those that the rule's result has; tests/kit/test_rules.py sees to it that these are the ones."""
    if name == "MetricsAbsent":  # of what is not there
        return {"alertname": name}
    more = {"ServerDown": ("instance",), "MetricsUnreachable": ()}
    own = more[name] if name in more else FIGURES[name](BY_NAME[name]).per
    return {"alertname": name, "service": service, **{label: f"its {label}" for label in own}}


@pytest.fixture
def ringing(tmp_path: Path) -> Monitoring:
    (tmp_path / "alertmanager.yml").write_text(prometheus_kit(KitOptions())["alertmanager.yml"])
    with alertmanager(tmp_path / "alertmanager.yml", f"127.0.0.1:{free_port()}") as running:
        yield running


def post(to: Monitoring, alerts: list[Labels]) -> None:
    body = json.dumps([{"labels": one} for one in alerts]).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{to.address}/api/v2/alerts", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def suppressed(to: Monitoring) -> dict[tuple[str, str], bool]:
    """By name and service: whether somebody else's alert keeps it from being told."""
    return {
        (one["labels"]["alertname"], one["labels"].get("service", "")): bool(one["status"]["inhibitedBy"])
        for one in to.get("/api/v2/alerts")
    }


def test_what_follows_from_another_alert_is_not_told(ringing: Monitoring) -> None:
    post(ringing, [labels("MetricsAbsent", "")])
    wait_until(lambda: suppressed(ringing) == {("MetricsAbsent", ""): False}, "it is told where it is alone", 30)

    wanted: dict[tuple[str, str], bool] = {}
    alerts: list[Labels] = []
    for cause, followers in FOLLOWS.items():
        alerts.append(labels(cause, f"{cause} here"))
        wanted[cause, f"{cause} here"] = False
        for name in followers:
            here, elsewhere = labels(name, f"{cause} here"), labels(name, f"{name} alone, not {cause}")
            alerts += [here, elsewhere]
            wanted[name, elsewhere.get("service", "")] = False
            wanted[name, here.get("service", "")] = True
    post(ringing, alerts)
    wait_until(lambda: len(suppressed(ringing)) == len(wanted), "all have come", 30)
    wait_until(lambda: suppressed(ringing) == wanted, "what follows is suppressed, and nothing else", 30)


def test_an_alert_of_another_queue_is_told_all_the_same(ringing: Monitoring) -> None:
    cause = labels("HighFailureRate", "s")
    other = {**labels("DeadLettersGrew", "s"), "queue": "another"}
    post(ringing, [cause, other, labels("FailureRateAboveBaseline", "s")])
    expected = {
        ("HighFailureRate", "s"): False,
        ("DeadLettersGrew", "s"): False,
        ("FailureRateAboveBaseline", "s"): True,
    }
    wait_until(lambda: suppressed(ringing) == expected, "the one of the same queue is suppressed", 30)
