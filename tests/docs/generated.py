"""What the documents take from the code. `python -m tests.docs.generated` writes it into the pages."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from prismq.clock import SYSTEM_CLOCK
from prismq.config import Settings, WorkerConfig
from prismq.config.alerts import AlertsConfig, SloConfig
from prismq.config.base import Config
from prismq.config.models import SECTIONS
from prismq.config.server import ServerConfig
from prismq.domain.status import TERMINAL, TRANSITIONS, TaskStatus
from prismq.domain.words import duration
from prismq.observability.alerts.definitions import ALERTS, MUTES
from prismq.observability.alerts.definitions import GROUPS as ALERT_GROUPS
from prismq.observability.alerts.rules import in_words
from prismq.observability.doctor.examination import checks_of
from prismq.observability.doctor.patient import Patient
from prismq.observability.exposition.definitions import GROUPS, METRICS
from prismq.observability.exposition.metric import BUCKETS_S
from prismq.storage.open import open_store
from tests.docs.pages import ROOT

SERVED_RUNBOOKS = ROOT / "src/prismq/server/templates/runbooks.md"  # the dashboard's copy

_MARKED = re.compile(r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end>\n<!-- end -->)", re.DOTALL)


def lifecycle() -> str:
    """The table of transitions as a diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued", "    [*] --> scheduled"]
    for before in TaskStatus:
        lines += [f"    {before} --> {after}" for after in TaskStatus if after in TRANSITIONS[before]]
    lines += [f"    {status} --> [*]" for status in TaskStatus if status in TERMINAL]
    return "\n".join([*lines, "```"])


def settings_table(model: type[Config]) -> str:
    """A row for each setting."""
    rows = ["| setting | variable | default | meaning |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        if model is Settings and key in SECTIONS:
            continue
        default = field.get_default(call_default_factory=True)
        variables = ", ".join(f"`{name}`" for name in model.env_variables(key))
        rows.append(f"| `{key}` | {variables} | {_shown(default)} | {field.description} |")
    return "\n".join(rows)


def metrics_table() -> str:
    """A section for each group of metrics, a row for each metric."""
    sections = []
    for group, title in GROUPS.items():
        rows = [f"### {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for metric in METRICS:
            if metric.group == group:
                labels = ", ".join(f"`{label}`" for label in metric.labels)
                rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
        sections.append("\n".join(rows))
    return "\n\n".join(sections)


def boundaries() -> str:
    """Where histograms are cut."""
    return ", ".join(f"{boundary:g}" for boundary in BUCKETS_S) + " seconds"


def _shown(default: object) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        days = f" ({default / 86_400:g} days)" if default >= 86_400 else ""
        return f"{default:g}{days}" if default < 86_400 else f"{default:.0f}{days}"
    return f"`{default}`"


def doctor_checks() -> str:
    """A row for each check of `prismq doctor`."""
    with closing(open_store("sqlite", ":memory:")) as store:
        checks = checks_of(Patient(store, SYSTEM_CLOCK))
    rows = ["| check | looks for | `--fix` |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{one.name}` | {one.looks_at} | {one.mends or '–'} |" for one in checks)])


def http_routes() -> str:
    """A row for each route of the API, as its OpenAPI document and its router have them."""
    from tests.server.routes import rows

    lines = ["| route | role | gives |", "|---|---|---|"]
    lines += [f"| `{method} {path}` | {role} | {summary} |" for method, path, role, summary in rows()]
    return "\n".join(lines)


def alerts() -> str:
    """A section for each group of alerts, a row for each alert."""
    sections = []
    for group, title in ALERT_GROUPS.items():
        rows = [f"### {title}", "", "| alert | severity | fires when | for | meaning |", "|---|---|---|---|---|"]
        for one in ALERTS:
            if one.group == group:
                limit, lasts = in_words(one.threshold, one.unit), duration(one.for_s) if one.for_s else "at once"
                meaning = " ".join(one.description.replace("{detail}", "").split())
                link = f"[`{one.name}`](runbooks.md#{one.name.lower()})"
                rows.append(f"| {link} | {one.severity} | {one.comparison} {limit} | {lasts} | {meaning} |")
        sections.append("\n".join(rows))
    return "\n\n".join(sections)


def alerts_muted() -> str:
    """A row for each alert from which others follow."""
    rows = ["| while this fires | nobody is told of |", "|---|---|"]
    quieter = {louder: [one.name for one in ALERTS if one.name in names] for louder, names in MUTES.items()}
    rows += [f"| `{louder}` | {', '.join(f'`{name}`' for name in names)} |" for louder, names in quieter.items()]
    return "\n".join(rows)


def recording_rules() -> str:
    """A row for each series that the kit for Prometheus records, those of the service levels aside."""
    from prismq.observability.kit.recording import recording_groups

    rows = ["| series | is |", "|---|---|"]
    for group in recording_groups(scrape_interval_s=15):
        for rule in group.rules:
            labels = ",".join(f'{name}="{value}"' for name, value in rule.labels)
            rows.append(f"| `{rule.name}{f'{{{labels}}}' if labels else ''}` | {rule.meaning} |")
    return "\n".join(rows)


def service_level_rules() -> str:
    """A row for each service level that the kit for Prometheus records."""
    from prismq.observability.kit.levels import level_rules

    rows = ["| `slo` | promise | may be bad |", "|---|---|---|"]
    rows += [f"| `{level.name}` | {level.meaning} | {level.budget:.1%} |" for level in level_rules()]
    return "\n".join(rows)


def prometheus_alerts() -> str:
    """A row for each alert rule of the kit for Prometheus."""
    from prismq.observability.kit.alerting import alert_groups
    from prismq.observability.kit.options import KitOptions

    rows = ["| alert | severity | for | says |", "|---|---|---|---|"]
    for group in alert_groups(KitOptions()):
        for rule in group["rules"]:
            name, said = rule["alert"], rule["annotations"]["summary"].replace("|", "\\|")
            severity = rule["labels"]["severity"]
            rows.append(f"| [`{name}`](runbooks.md#{name.lower()}) | {severity} | {rule.get('for', '–')} | {said} |")
    return "\n".join(rows)


def prometheus_reasons() -> str:
    """A row for each of prismq's own alerts that the kit for Prometheus does not have."""
    from prismq.observability.kit.conditions import REASONS

    return "\n".join(["| alert | why not |", "|---|---|", *(f"| `{name}` | {why} |" for name, why in REASONS.items())])


PARTS = {
    "recording-rules": recording_rules,
    "service-level-rules": service_level_rules,
    "prometheus-alerts": prometheus_alerts,
    "prometheus-reasons": prometheus_reasons,
    "alerts": alerts,
    "alerts-muted": alerts_muted,
    "http-routes": http_routes,
    "server-settings": lambda: settings_table(ServerConfig),
    "lifecycle": lifecycle,
    "metrics": metrics_table,
    "histogram-boundaries": boundaries,
    "worker-settings": lambda: settings_table(WorkerConfig),
    "alerts-settings": lambda: settings_table(AlertsConfig),
    "slo-settings": lambda: settings_table(SloConfig),
    "settings": lambda: settings_table(Settings),
    "doctor-checks": doctor_checks,
}


def up_to_date(text: str) -> str:
    """The page with what it takes from the code as the code has it now."""
    return _MARKED.sub(lambda found: f"{found['begin']}{PARTS[found['name']]()}{found['end']}", text)


def names_in(page: Path) -> list[str]:
    """Which parts the page takes."""
    return [found["name"] for found in _MARKED.finditer(page.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for path in (ROOT / "docs").rglob("*.md"):
        path.write_text(up_to_date(path.read_text(encoding="utf-8")), encoding="utf-8")
    SERVED_RUNBOOKS.write_bytes((ROOT / "docs/runbooks.md").read_bytes())
