"""The kit for Prometheus and Alertmanager: configuration, recording rules, alert rules, routing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from prismq.observability.kit.alerting import alert_groups
from prismq.observability.kit.dashboards import DASHBOARDS
from prismq.observability.kit.layout import document, laid_out
from prismq.observability.kit.levels import level_group
from prismq.observability.kit.options import KitOptions
from prismq.observability.kit.promql import JOB, SERVICE
from prismq.observability.kit.recording import Group, growth_group, recording_groups

RECORDING, ALERTS = "recording_rules.yml", "alert_rules.yml"
TOKEN_PLACEHOLDER = "put the token of a viewer here: prismq tokens create prometheus\n"  # noqa: S105 - it says how


def prometheus_kit(options: KitOptions) -> dict[str, str]:
    """Every file, by its path within the kit's folder."""
    alerts = alert_groups(options)
    recording = {
        "groups": [
            {
                "name": group.name,
                "rules": [
                    {
                        "record": rule.name,
                        "expr": laid_out(rule.expression),
                        **({"labels": dict(rule.labels)} if rule.labels else {}),
                    }
                    for rule in group.rules
                ],
            }
            for group in recorded(options, (rule["expr"] for group in alerts for rule in group["rules"]))
        ]
    }
    return {
        "prometheus.yml": document(_configuration(options), "Configuration of Prometheus, 2.42 or later."),
        RECORDING: document(recording, "Recording rules; docs/prometheus.md says what each of them means."),
        ALERTS: document({"groups": alerts}, "Alert rules; each names its runbook."),
        "alertmanager.yml": document(_alertmanager(options), "Configuration of Alertmanager: who is told what, when."),
    }


def recorded(options: KitOptions, alerts: Iterable[str] = ()) -> list[Group]:
    """Every group of recording rules: for the expressions of the alerts, for the dashboards, and for people."""
    groups = [*recording_groups(scrape_interval_s=options.scrape_interval_s), level_group(options.slo)]
    shown = (
        query.expression for one in DASHBOARDS for row in one.rows for panel in row.panels for query in panel.queries
    )
    asked = (rule.expression for group in groups for rule in group.rules)
    return [growth_group((*asked, *alerts, *shown)), *groups]


def _configuration(options: KitOptions) -> dict[str, Any]:
    scrape: dict[str, Any] = {"job_name": JOB, "scheme": options.scheme, "metrics_path": options.metrics_path}
    if options.token_file is not None:
        scrape["authorization"] = {"credentials_file": options.token_file}
    scrape["static_configs"] = [{"targets": list(options.targets), "labels": {SERVICE: options.service}}]
    interval = f"{options.scrape_interval_s}s"
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [RECORDING, ALERTS],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(options.alertmanagers)}]}]},
        "scrape_configs": [
            scrape,
            # Prometheus itself, for MonitoringFailing.
            {"job_name": "prometheus", "static_configs": [{"targets": [urlsplit(options.prometheus).netloc]}]},
        ],
    }


# -- Alertmanager

# Whoever wakes up for the first need not hear of the second, where the labels are the same. What is absent has none.
_MUTES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("MetricsUnreachable", "MetricsAbsent", ()),
    ("MetricsUnreachable", "ServerDown", (SERVICE,)),
    (
        "NoActiveWorkers",
        "QueueUnserved|OldestTaskOverTarget|BacklogGrowing|HighQueueDepth|ScheduleMissed|ScheduleFailing|ErrorBudgetBurn.*",
        (SERVICE,),
    ),
    ("QueueUnserved", "OldestTaskOverTarget|BacklogGrowing", (SERVICE, "queue")),
    ("OldestTaskOverTarget", "BacklogGrowing", (SERVICE, "queue")),
    ("ErrorBudgetBurnFast", "ErrorBudgetBurnSlow", (SERVICE, "slo", "queue")),
    ("PoisonTask", "LeasesLost", (SERVICE, "queue", "type")),
    ("HighFailureRate", "FailureRateAboveBaseline|DeadLettersGrew", (SERVICE, "queue")),
    ("DiskAlmostFull", "DiskFillingUp|WalTooLarge", (SERVICE, "instance")),
)


def _alertmanager(options: KitOptions) -> dict[str, Any]:
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": "ticket",
            "group_by": ["alertname", "severity", SERVICE],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [
                {
                    "receiver": "watchdog",
                    "matchers": ['alertname = "Watchdog"'],
                    "group_wait": "0s",
                    "group_interval": "1m",
                    "repeat_interval": "5m",
                },
                {
                    "receiver": "page",
                    "matchers": ['severity = "page"'],
                    "group_wait": "10s",
                    "group_interval": "1m",
                    "repeat_interval": "1h",
                },
                {"receiver": "info", "matchers": ['severity = "info"'], "repeat_interval": "24h"},
            ],
        },
        "inhibit_rules": [
            {
                "source_matchers": [f'alertname = "{louder}"'],
                "target_matchers": [f'alertname =~ "{quieter}"'],
                **({"equal": list(equal)} if equal else {}),
            }
            for louder, quieter, equal in _MUTES
        ],
        "receivers": [
            *(_receiver(name, options) for name in ("page", "ticket", "info")),
            # For a service that cries when nothing comes any more.
            {"name": "watchdog"},
        ],
    }


def _receiver(name: str, options: KitOptions) -> dict[str, Any]:
    receiver: dict[str, Any] = {"name": name}
    if options.webhook is not None:
        receiver["webhook_configs"] = [{"url": options.webhook, "send_resolved": True}]
    if options.slack_file is not None:
        receiver["slack_configs"] = [
            {
                "api_url_file": options.slack_file,
                "channel": options.slack_channel,
                "send_resolved": True,
                "title": "{{ .CommonLabels.alertname }} ({{ .Status }}, {{ .CommonLabels.service }})",
                "text": "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
                "{{ .Annotations.runbook_url }} {{ .Annotations.dashboard_url }}\n{{ end }}",
            }
        ]
    return receiver
