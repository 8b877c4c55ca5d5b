"""Templates, and what every page is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from prismq.domain.account import Role
from prismq.server.auth import Principal, csrf_token
from prismq.server.pages import filters
from prismq.server.pages.notices import Undos, notice_of, without_notice
from prismq.server.pages.static import version_of
from prismq.server.services import Services
from prismq.server.views.history import RANGES
from prismq.server.views.workers import Gauges

# Key, label and path of each page in the navigation; those after the roles say so.
_PLACES = (
    ("overview", "Overview", "", Role.VIEWER),
    ("queues", "Queues", "queues", Role.VIEWER),
    ("tasks", "Tasks", "tasks", Role.VIEWER),
    ("workers", "Workers", "workers", Role.VIEWER),
    ("schedules", "Schedules", "schedules", Role.VIEWER),
    ("failures", "Failures", "failures", Role.VIEWER),
    ("alerts", "Alerts", "alerts", Role.VIEWER),
    ("levels", "Service levels", "levels", Role.VIEWER),
    ("scaling", "Scaling", "scaling", Role.VIEWER),
    ("remediation", "Remediation", "remediation", Role.VIEWER),
    ("system", "System", "system", Role.VIEWER),
    ("audit", "Audit", "audit", Role.OPERATOR),
    ("settings", "Settings", "settings", Role.ADMIN),
)
_KEYS = {
    "overview": "o", "queues": "q", "tasks": "t", "workers": "w", "schedules": "s", "failures": "f", "system": "y",
    "audit": "a", "settings": "c", "scaling": "n", "remediation": "r", "alerts": "r", "levels": "l",
}  # fmt: skip


class Rendering:
    """One for each server application, at `app.state.rendering`."""

    def __init__(self) -> None:
        # Everything is escaped: what tasks, logs and workers say is anybody's.
        self._environment = Environment(
            loader=PackageLoader("prismq.server", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters.install(self._environment)
        self.gauges = Gauges()
        self.undos = Undos()

    def bare(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page without the frame, for those who are not signed in, and for errors."""
        return HTMLResponse(self._environment.get_template(template).render(**_common(request), **values), status)

    def page(
        self,
        request: Request,
        who: Principal,
        template: str,
        *,
        title: str,
        place: str,
        follows: bool = True,
        charts: bool = False,
        status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """A page in the frame. `follows`: it asks for itself again when the queue has changed."""
        services: Services = request.app.state.services
        common = _common(request)
        places = [(key, label, path) for key, label, path, role in _PLACES if who.may(role)]
        text = self._environment.get_template(template).render(
            **common,
            title=title,
            place=place,
            places=places,
            keys=[(_KEYS[key], label) for key, label, _ in places] + [("e", "Enqueue")],
            follows=follows,
            charts=charts,
            who=who,
            may_act=who.may(Role.OPERATOR),
            csrf=csrf_token(request),
            database=services.q.store.name,
            now=services.q.clock.now(),
            redactor=services.q.redactor,
            spans=RANGES,
            notice=notice_of(request.query_params, self.undos, services.q.clock.now()),
            **values,
        )
        return HTMLResponse(text, status)


def rendering_of(request: Request) -> Rendering:
    """That of the application."""
    found: Rendering = request.app.state.rendering
    return found


def root_of(request: Request) -> str:
    """The path under which all this is mounted; empty for none."""
    return str(request.scope.get("root_path", ""))


def here(request: Request) -> str:
    """The path and the query of this page, without what a notice says once."""
    query = urlencode(without_notice(request.query_params.multi_items()))
    return request.url.path + (f"?{query}" if query else "")


def _common(request: Request) -> Mapping[str, Any]:
    root = root_of(request)
    return {
        "root": root,
        "here": here(request),
        "asset": lambda name: f"{root}/static/{name}?v={version_of(name)}",
    }


def pairs_without(pairs: Sequence[tuple[str, str]], *names: str) -> list[tuple[str, str]]:
    """The fields but for these."""
    return [(name, value) for name, value in pairs if name not in names]
