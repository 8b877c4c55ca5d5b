"""The kit for Grafana: dashboards to import, and files that provision them."""

from __future__ import annotations

import json

from prismq.observability.kit.dashboards import DASHBOARDS
from prismq.observability.kit.layout import document
from prismq.observability.kit.options import KitOptions
from prismq.observability.kit.panels import dashboard_json

FOLDER = "/var/lib/grafana/dashboards/prismq"  # where Grafana finds the dashboards, unless the file is changed


def grafana_kit(options: KitOptions) -> dict[str, str]:
    """Every file, by its path within the kit's folder."""
    files = {
        f"dashboards/{one.uid}.json": json.dumps(dashboard_json(one, options.dashboard.rstrip("/")), indent=2) + "\n"
        for one in DASHBOARDS
    }
    source = {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "type": "prometheus",
                "uid": "prismq-prometheus",
                "access": "proxy",
                "url": options.prometheus,
                "isDefault": True,
                "jsonData": {"timeInterval": f"{options.scrape_interval_s}s", "httpMethod": "POST"},
            }
        ],
    }
    provider = {
        "apiVersion": 1,
        "providers": [
            {
                "name": "prismq",
                "folder": "PrismQ",
                "type": "file",
                "allowUiUpdates": False,
                "options": {"path": FOLDER},
            }
        ],
    }
    files["provisioning/datasources/prismq.yaml"] = document(
        source, "The data source; goes to /etc/grafana/provisioning/datasources."
    )
    files["provisioning/dashboards/prismq.yaml"] = document(
        provider, f"Goes to /etc/grafana/provisioning/dashboards; the dashboards to {FOLDER}."
    )
    return files
