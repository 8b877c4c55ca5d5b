"""What a kit is made for: where things are, and how often they are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from prismq.config.alerts import AlertsConfig, SloConfig
from prismq.observability.alerts.definitions import ALERTS, BY_NAME, Alert
from prismq.observability.alerts.rules import rules_of


@dataclass(frozen=True)
class KitOptions:
    """The choices of whoever makes a kit. Times are seconds."""

    targets: tuple[str, ...] = ("127.0.0.1:8000",)  # HOST:PORT of the queue's servers
    scheme: str = "http"
    metrics_path: str = "/metrics"
    service: str = "prismq"  # tells several queues of one Prometheus apart
    token_file: str | None = "prismq.token"  # noqa: S105 - a path, taken from the folder of prometheus.yml
    scrape_interval_s: int = 15
    alertmanagers: tuple[str, ...] = ("127.0.0.1:9093",)
    dashboard: str = "http://127.0.0.1:8000/"
    runbooks: str = "docs/runbooks.md"
    backup_interval_s: float = 86_400.0
    webhook: str | None = None
    slack_file: str | None = None  # holds the URL of Slack's incoming webhook
    slack_channel: str = "#alerts"
    alerts: tuple[Alert, ...] = ALERTS
    slo: SloConfig = field(default_factory=SloConfig)
    prometheus: str = "http://127.0.0.1:9090"  # as Grafana reaches it


def alerts_in_force(config: AlertsConfig) -> tuple[Alert, ...]:
    """The built-in alerts as the settings change them, without those that are switched off.

    Thresholds of single queues, and rules of one's own, stay with prismq's own alerts. Raises ConfigurationError.
    """
    return tuple(
        BY_NAME[rule.name]._replace(
            severity=rule.severity, threshold=rule.threshold, clear=rule.clear, for_s=rule.for_s, keep_s=rule.keep_s,
            params=rule.params,
        )
        for rule in rules_of(config)
        if rule.name in BY_NAME and rule.enabled
    )  # fmt: skip
