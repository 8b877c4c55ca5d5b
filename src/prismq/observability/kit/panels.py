"""Parts of a Grafana dashboard as plain JSON: what is said here in few words, its schema wants in many.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

SCHEMA_VERSION = 39  # that of Grafana 11; later ones migrate it by themselves
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
OURS = 'service=~"$service"'

GREEN, YELLOW, RED = "green", "orange", "red"


class Query(NamedTuple):
    """An expression, and what its series are called. `<S>` in it is the selector of the chosen services."""

    expression: str
    legend: str = ""

    @property
    def promql(self) -> str:
        """With the selector in place."""
        return self.expression.replace("<S>", OURS)


class Panel(NamedTuple):
    """One picture. `steps`: from which value on it has which colour, the lowest without one."""

    title: str
    queries: tuple[Query, ...]
    unit: str
    meaning: str
    kind: str = "timeseries"  # or stat, bargauge, table
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    width: int = 8
    height: int = 8
    page: str = ""  # of prismq's dashboard, where there is more about it
    stacked: bool = False
    max: float | None = None


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Dashboard(NamedTuple):
    """A dashboard. `variables` besides those that all have: name, label and what lists its values."""

    uid: str
    title: str
    meaning: str
    page: str
    rows: tuple[Row, ...]
    variables: tuple[tuple[str, str, str], ...] = ()


def dashboard_json(dashboard: Dashboard, prismq_url: str) -> dict[str, Any]:
    """What Grafana imports."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        panels.append(
            {
                "type": "row",
                "id": len(panels) + 1,
                "title": row.title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panels.append(_panel(panel, len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.meaning,
        "tags": ["prismq"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,  # one cross hair for all panels
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "templating": {"list": _variables(dashboard, prismq_url)},
        "annotations": {"list": [_alerts()]},
        "links": [
            _link("PrismQ", f"${{prismq:raw}}/{dashboard.page}", "The queue's own dashboard: act on it there."),
            {
                **_link("Other dashboards", "", "The other dashboards of prismq."),
                "type": "dashboards",
                "tags": ["prismq"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
            },
        ],
        "panels": panels,
    }


def _link(title: str, url: str, tooltip: str) -> dict[str, Any]:
    return {
        "title": title,
        "type": "link",
        "icon": "external link",
        "tooltip": tooltip,
        "url": url,
        "tags": [],
        "asDropdown": False,
        "targetBlank": True,
        "includeVars": False,
        "keepTime": False,
    }


def _variables(dashboard: Dashboard, prismq_url: str) -> list[dict[str, Any]]:
    lists = (("service", "Service", 'label_values(up{job="task-queue"}, service)'), *dashboard.variables)
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "hide": 0,
            "multi": False,
            "includeAll": False,
            "regex": "",
            "refresh": 1,
            "skipUrlSync": False,
        },
        *(
            {
                "name": name,
                "label": label,
                "type": "query",
                "datasource": SOURCE,
                "query": values,
                "hide": 0,
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
                "regex": "",
                "refresh": 2,  # with the time range
                "sort": 1,
                "skipUrlSync": False,
            }
            for name, label, values in lists
        ),
        {
            "name": "prismq",
            "label": "PrismQ",
            "description": "Where the queue's own dashboard is",
            "type": "textbox",
            "query": prismq_url,
            "current": {"selected": True, "text": prismq_url, "value": prismq_url},
            "hide": 0,
            "skipUrlSync": False,
        },
    ]


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": RED,
        "expr": f'ALERTS{{alertstate="firing",alertname!="Watchdog",{OURS}}}',
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    table = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + at),
            "datasource": SOURCE,
            "expr": query.promql,
            "legendFormat": query.legend,
            "range": panel.kind == "timeseries",
            "instant": panel.kind != "timeseries",
            "format": "table" if table else "time_series",
        }
        for at, query in enumerate(panel.queries)
    ]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": colour} for at, colour in panel.steps]},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "custom": _drawing(panel),
    }
    if panel.max is not None:
        defaults["max"] = panel.max
    if panel.page:
        defaults["links"] = [{"title": "In PrismQ", "url": f"${{prismq:raw}}/{panel.page}", "targetBlank": True}]
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": SOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        **({"transformations": _columns()} if table else {}),
    }


def _drawing(panel: Panel) -> dict[str, Any]:
    if panel.kind != "timeseries":
        return {}
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if len(panel.steps) > 1 else "off"},
    }


def _options(kind: str) -> dict[str, Any]:
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "stat":
        return {
            "reduceOptions": reduced,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "textMode": "auto",
            "orientation": "auto",
        }
    if kind == "bargauge":
        return {
            "reduceOptions": reduced,
            "displayMode": "gradient",
            "orientation": "horizontal",
            "showUnfilled": True,
            "minVizWidth": 8,
            "minVizHeight": 16,
            "valueMode": "color",
        }
    return {"showHeader": True, "cellHeight": "sm"}


def _columns() -> list[dict[str, Any]]:
    hidden: Sequence[str] = ("Time", "service", "instance", "job", "__name__")
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": dict.fromkeys(hidden, True), "renameByName": {}}},
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "Value", "desc": True}]}},
    ]
