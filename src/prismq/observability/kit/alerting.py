"""Alert rules: the built-in alerts as Prometheus evaluates them, and those that watch the watching."""

from __future__ import annotations

from string import Formatter
from typing import Any

from prismq.observability.alerts.definitions import GROUPS, MINUTE_S, Alert, Severity
from prismq.observability.alerts.rules import in_words
from prismq.observability.kit.conditions import REASONS, condition, window
from prismq.observability.kit.layout import laid_out
from prismq.observability.kit.options import KitOptions
from prismq.observability.kit.promql import JOB, by, on

# What the figure is in the text of a notification, by its unit; others are a number and a noun.
_VALUES = {
    "seconds": "{{ $value | humanizeDuration }}",
    "ratio": "{{ $value | humanizePercentage }}",
    "bytes": "{{ $value | humanize1024 }}B",
    "times": '{{ $value | printf "%.1f" }} times',
}
_THRESHOLDS = {"OldestTaskOverTarget": "5 minutes, or what its name says"}

# Prometheus' own figures, of itself.
FOREIGN = (
    "prometheus_rule_evaluation_failures_total",
    "prometheus_notifications_dropped_total",
    "prometheus_notifications_alertmanagers_discovered",
)


class _Placeholders(dict[str, str]):
    """A label that the text names is the label of the series."""

    def __missing__(self, key: str) -> str:
        return f"{{{{ $labels.{key} }}}}"


def told(alert: Alert, text: str) -> str:
    """The text of the table as a template of Prometheus."""
    things = f"{alert.unit.removesuffix('s')}{{{{ if ne $value 1.0 }}}}s{{{{ end }}}}"
    value = _VALUES.get(alert.unit, f"{{{{ $value | humanize }}}} {things}")
    filled = Formatter().vformat(
        text,
        (),
        _Placeholders(
            value=value, threshold=_THRESHOLDS.get(alert.name, in_words(alert.threshold, alert.unit)), detail=""
        ),
    )
    return " ".join(filled.split()).rstrip(": ")


def _rule(alert: Alert, options: KitOptions) -> dict[str, Any]:
    return _document(
        alert.name,
        condition(alert, options.backup_interval_s),
        alert.severity,
        alert.for_s,
        told(alert, alert.summary),
        told(alert, alert.description),
        options,
        keep_s=alert.keep_s,
    )


def _document(
    name: str,
    expression: str,
    severity: Severity,
    for_s: float,
    summary: str,
    description: str,
    options: KitOptions,
    *,
    keep_s: float = 0.0,
) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": name, "expr": laid_out(expression)}
    if for_s:
        rule["for"] = window(for_s)
    if keep_s:
        rule["keep_firing_for"] = window(keep_s)
    annotations = {
        "summary": summary,
        "description": description,
        "runbook_url": f"{options.runbooks}#{name.lower()}",
        "dashboard_url": options.dashboard,
    }
    return {**rule, "labels": {"severity": severity.value}, "annotations": annotations}


def _watching(options: KitOptions) -> list[dict[str, Any]]:
    up = f'up{{job="{JOB}"}}'
    page, ticket, info = Severity.PAGE, Severity.TICKET, Severity.INFO
    failing = " or ".join(
        (
            "increase(prometheus_rule_evaluation_failures_total[5m]) > 0",
            "increase(prometheus_notifications_dropped_total[5m]) > 0",
            "prometheus_notifications_alertmanagers_discovered < 1",
        )
    )
    return [
        _document(
            "MetricsUnreachable", f"max {by()} ({up}) == 0", page, MINUTE_S,
            "No server of {{ $labels.service }} can be scraped",
            "The servers are gone, or they cannot reach their database: nothing is known of the queue until that is "
            "mended. Other alerts of it are silent meanwhile.", options,
        ),
        _document(
            "ServerDown", f"{up} == 0 unless {on()} max {by()} ({up}) == 0", ticket, 5 * MINUTE_S,
            "The server {{ $labels.instance }} cannot be scraped", "Others of the same queue can.", options,
        ),
        _document(
            "MetricsAbsent", f"absent({up}) or absent(prismq_workers) or absent(api:requests)", page, 5 * MINUTE_S,
            "There are no figures of any queue",
            "Nothing is scraped, or not what the rules read: no other alert can fire. Look at the targets and the "
            "rules of Prometheus.", options,
        ),
        _document(
            "MonitoringFailing", failing, ticket, 5 * MINUTE_S, "Prometheus does not do all that it should",
            "It fails to evaluate rules, drops notifications, or has no Alertmanager.", options,
        ),
        _document(
            "Watchdog", "vector(1)", info, 0.0, "Always firing: it shows that alerts arrive",
            "Have something outside that cries when this one stops coming.", options,
        ),
    ]  # fmt: skip


def alert_groups(options: KitOptions) -> list[dict[str, Any]]:
    """Every group of alert rules, as the file has them."""
    groups: list[dict[str, Any]] = []
    for group in GROUPS:
        rules = [
            _rule(alert, options) for alert in options.alerts if alert.group == group and alert.name not in REASONS
        ]
        if rules:
            groups.append({"name": f"prismq_alerts_{group}", "rules": rules})
    groups.append({"name": "prismq_alerts_watching", "rules": _watching(options)})
    return groups
