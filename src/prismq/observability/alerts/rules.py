"""The rules that are in force: the built-in alerts with what the settings change, and rules of one's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prismq.config.alerts import AlertsConfig, OwnRuleConfig, RuleConfig, unknown_rule
from prismq.domain.errors import ConfigurationError, closest
from prismq.domain.words import duration, plural
from prismq.observability.alerts.definitions import ALERTS, BY_NAME, RUNBOOKS, Alert, Comparison, Severity
from prismq.observability.exposition.definitions import BY_NAME as METRICS
from prismq.observability.exposition.metric import Kind

OWN_GROUP = "own"
PLACE = re.compile(r"\{(\w+)\}")  # in a summary: what is put in there
_GIB, _MIB = 1024**3, 1024**2


@dataclass(frozen=True)
class Rule:
    """A rule in force. What the fields mean, Alert says; `metric` and `series` are those of a rule of one's own."""

    name: str
    group: str
    severity: Severity
    comparison: Comparison
    threshold: float
    clear: float
    unit: str
    for_s: float
    keep_s: float
    summary: str
    description: str
    labels: tuple[str, ...] = ()
    params: Mapping[str, float] = field(default_factory=dict)
    queues: Mapping[str, float] = field(default_factory=dict)  # thresholds of single queues
    runbook: str | None = None
    metric: str | None = None
    series: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    changed: bool = False  # by the settings

    def threshold_of(self, labels: Mapping[str, str], said: float | None = None) -> float:
        """The threshold for an instance: that of its queue, else `said`, else the rule's."""
        own = self.queues.get(labels.get("queue", ""))
        return own if own is not None else self.threshold if said is None else said

    def clear_of(self, threshold: float) -> float:
        """Where an instance with this threshold is fine again: as far from it as the rule's own."""
        if not self.threshold:
            return threshold + (self.clear - self.threshold)
        return threshold * (self.clear / self.threshold)

    def is_bad(self, value: float, limit: float) -> bool:
        """Whether the value is on the bad side."""
        return value > limit if self.comparison is Comparison.ABOVE else value < limit

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rule": self.name,
            "group": self.group,
            "severity": self.severity.value,
            "enabled": self.enabled,
            "changed": self.changed,
            "comparison": self.comparison.value,
            "threshold": self.threshold,
            "clear": self.clear,
            "unit": self.unit,
            "for_seconds": self.for_s,
            "resolve_after_seconds": self.keep_s,
            "labels": list(self.labels),
            "queues": dict(self.queues),
            "params": dict(self.params),
            "metric": self.metric,
            "series": dict(self.series),
            "summary": self.summary,
            "description": self.description,
            "runbook": self.runbook,
        }


def rules_of(config: AlertsConfig) -> list[Rule]:
    """Every rule, those that are switched off included. Raises ConfigurationError for a rule that there is not."""
    for name in config.rules:
        if name not in BY_NAME:
            raise ConfigurationError(f"rules[{name!r}]: {unknown_rule(name, list(BY_NAME))}")
    for name in config.own_rules:
        if name in BY_NAME:
            raise ConfigurationError(
                f"own_rules[{name!r}]: that is the name of a built-in alert; change it in the section `alerts.rules`, "
                f"or give yours another name"
            )
    base = runbooks_of(config)
    built_in = [_built_in(alert, config.rules.get(alert.name, RuleConfig()), base) for alert in ALERTS]
    return [*built_in, *(_own(name, own) for name, own in config.own_rules.items())]


def runbooks_of(config: AlertsConfig) -> str:
    """Where the runbooks are found: as the settings say, else on the dashboard, else by their name in the documents."""
    if config.runbooks_url is not None:
        return config.runbooks_url
    return RUNBOOKS if config.dashboard_url is None else f"{config.dashboard_url.rstrip('/')}/runbooks"


def runbook_of(rule: str, config: AlertsConfig) -> str | None:
    """Where it is said what to do about an alert; None for one of one's own."""
    alert = BY_NAME.get(rule)
    return None if alert is None else alert.runbook_at(runbooks_of(config))


def _built_in(alert: Alert, change: RuleConfig, runbooks: str) -> Rule:
    where = f"rules[{alert.name!r}]"
    for name in change.params:
        if name not in alert.params:
            known = ", ".join(alert.params) or "none"
            raise ConfigurationError(
                f"{where}: there is no parameter {name!r}.{closest(name, alert.params)} Those of this alert are {known}"
            )
    if change.queues and "queue" not in alert.labels:
        raise ConfigurationError(
            f"{where}: this alert is not about single queues, so that `queues` has no meaning; set `threshold`"
        )
    threshold = alert.threshold if change.threshold is None else change.threshold
    scaled = threshold * (alert.clear / alert.threshold) if alert.threshold else alert.clear
    clear = scaled if change.clear is None else change.clear
    if clear > threshold if alert.comparison is Comparison.ABOVE else clear < threshold:
        raise ConfigurationError(
            f"{where}: clear = {clear:g} is on the bad side of threshold = {threshold:g}; the alert would resolve "
            f"while it fires"
        )
    return Rule(
        alert.name,
        alert.group,
        alert.severity if change.severity is None else Severity(change.severity),
        alert.comparison,
        threshold,
        clear,
        alert.unit,
        alert.for_s if change.for_seconds is None else change.for_seconds,
        alert.keep_s if change.resolve_after_seconds is None else change.resolve_after_seconds,
        alert.summary,
        alert.description,
        alert.labels,
        {**alert.params, **change.params},
        dict(change.queues),
        alert.runbook_at(runbooks),
        enabled=change.enabled,
        changed=change != RuleConfig(),
    )


def _own(name: str, own: OwnRuleConfig) -> Rule:
    metric = METRICS.get(own.metric)
    where = f"own_rules[{name!r}]"
    if metric is None:
        raise ConfigurationError(
            f"{where}: there is no metric {own.metric!r}.{closest(own.metric, METRICS)} See docs/metrics.md"
        )
    if metric.kind is Kind.HISTOGRAM:
        raise ConfigurationError(f"{where}: {own.metric} is a histogram, which is no single figure; choose another")
    for label in own.labels:
        if label not in metric.labels:
            known = ", ".join(metric.labels) or "none"
            raise ConfigurationError(f"{where}: {own.metric} has no label {label!r}; its labels are {known}")
    places = ("value", "threshold", *metric.labels)
    for place in PLACE.findall(own.summary or ""):
        if place not in places:
            raise ConfigurationError(
                f"{where}: the summary has {{{place}}}, and nothing is called so.{closest(place, places)} It may have "
                f"{', '.join(f'{{{one}}}' for one in places)}"
            )
    comparison = Comparison(own.comparison)
    return Rule(
        name,
        OWN_GROUP,
        Severity(own.severity),
        comparison,
        own.threshold,
        own.threshold if own.clear is None else own.clear,
        metric.unit,
        own.for_seconds,
        own.resolve_after_seconds,
        own.summary or f"{own.metric} is {{value}}, which is {comparison.value} {{threshold}}",
        metric.help,
        metric.labels,
        metric=own.metric,
        series=dict(own.labels),
    )


def in_words(value: float | None, unit: str) -> str:
    """A value with its unit: `3 m 20 s`, `12 %`, `1,200 tasks`, `98 MiB`, `14.4 times`."""
    if value is None:
        return "-"
    if unit == "seconds":
        return duration(value)
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return f"{value / _GIB:.1f} GiB" if abs(value) >= _GIB else f"{value / _MIB:,.0f} MiB"
    if unit == "times":
        return "ever" if value == float("inf") else f"{value:.3g} times"
    if value == int(value) if abs(value) < 1e15 else False:
        return plural(int(value), unit.removesuffix("s")) if unit else f"{int(value):,}"
    return f"{value:,.3g} {unit}".rstrip()
