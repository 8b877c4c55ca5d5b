"""The dashboards as Grafana's own models of them read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from prismq.observability.kit.dashboards import DASHBOARDS
from prismq.observability.kit.grafana import grafana_kit
from prismq.observability.kit.options import KitOptions

FILES = grafana_kit(KitOptions(dashboard="https://queue.example.com/", prometheus="http://prometheus:9090"))
JSON = {name: json.loads(text) for name, text in FILES.items() if name.endswith(".json")}

# The panels that the reference lists.
LISTED = {
    "Task Queue Overview": [
        "Queue depth over time", "Task submission rate", "Task completion rate", "Failure rate",
        "Average processing time",
    ],
    "Worker Performance": [
        "Worker utilization (%)", "Task rate by worker", "Error rate by worker", "Uptime by worker",
        "Task distribution",
    ],
    "System Metrics": ["CPU usage", "Memory usage", "Disk I/O", "Network throughput", "Database connections"],
    "Error Analysis": ["Failure rate", "Failures by type, last hour"],
}  # fmt: skip


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """What of ours theirs does not have, or has otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                yield f"{path}.{key} = {value!r}"
            else:
                yield from differences(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} is {theirs!r}"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="grafana-foundation-sdk wants Python 3.11")
@pytest.mark.parametrize("name", JSON)
def test_grafanas_models_know_every_field_of_a_dashboard(name: str) -> None:
    """Read and written again by the models of the foundation SDK, nothing of ours is lost or changed."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(JSON[name])))
    assert list(differences(JSON[name], theirs)) == []
    wrong = json.loads(json.dumps(JSON[name]))
    panels(wrong)[0]["fieldConfig"]["defaults"]["unitt"] = "s"
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(wrong)))
    assert any("unitt" in one for one in differences(wrong, again))


def test_every_dashboard_and_panel_of_the_reference_is_there() -> None:
    by_title = {document["title"]: document for document in JSON.values()}
    assert set(by_title) == set(LISTED)
    for title, names in LISTED.items():
        shown = [panel["title"] for panel in panels(by_title[title])]
        assert set(names) <= set(shown), title
        assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("name", JSON)
def test_every_panel_has_its_unit_its_meaning_and_its_place(name: str) -> None:
    document = JSON[name]
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in panels(document):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert "<S>" not in target["expr"], panel["title"]
            assert "$service" in target["expr"], panel["title"]


@pytest.mark.parametrize("name", JSON)
def test_the_source_and_the_queues_own_dashboard_are_variables(name: str) -> None:
    document = JSON[name]
    variables = {one["name"]: one for one in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["prismq"]["query"] == "https://queue.example.com"
    assert document["links"][0]["url"].startswith("${prismq:raw}/")
    used = json.dumps(document["panels"])
    for variable in variables:
        if variable not in ("datasource", "prismq", "service"):
            assert f"${variable}" in used, variable
    assert used.count("${prismq:raw}/") >= 8 or name.endswith("errors.json")


def test_links_lead_to_pages_that_there_are() -> None:
    from prismq.server.pages.rendering import _PLACES  # wants the extra `server`, as the pages do

    known = {path for _, _, path, _ in _PLACES}
    pages = {panel.page.partition("?")[0] for one in DASHBOARDS for row in one.rows for panel in row.panels}
    assert pages | {one.page for one in DASHBOARDS} <= known


def test_the_provisioning_names_what_is_beside_it() -> None:
    [source] = yaml.safe_load(FILES["provisioning/datasources/prismq.yaml"])["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = yaml.safe_load(FILES["provisioning/dashboards/prismq.yaml"])["providers"]
    assert provider["type"] == "file"
    assert len(JSON) == 4
