"""The reference's four dashboards: every panel that it lists, and those that answer what is asked next."""

from __future__ import annotations

from prismq.observability.kit.dashboards.errors import ERRORS
from prismq.observability.kit.dashboards.overview import OVERVIEW
from prismq.observability.kit.dashboards.system import SYSTEM
from prismq.observability.kit.dashboards.workers import WORKERS

DASHBOARDS = (OVERVIEW, WORKERS, SYSTEM, ERRORS)
