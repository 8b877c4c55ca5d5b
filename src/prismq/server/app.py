"""The ASGI application: middleware, routes, and the dashboard's pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from prismq.app import PrismQ
from prismq.config import Settings
from prismq.server import pages, problems
from prismq.server.conditional import Conditional
from prismq.server.guard import Limits, SecurityHeaders
from prismq.server.problems import ProblemDocument
from prismq.server.requests import Counting
from prismq.server.routes import (
    accounts,
    alerts,
    figures,
    health,
    live,
    queues,
    reference,
    remediation,
    scaling,
    schedules,
    search,
    slo,
    tasks,
    workers,
)
from prismq.server.routes.shapes import KNOWN_QUERY
from prismq.server.services import Services
from prismq.server.settings import LOOPBACK_HOSTS, ServerSettings, is_loopback
from prismq.version import __version__

_ROUTES = (
    tasks,
    search,
    queues,
    workers,
    schedules,
    figures,
    scaling,
    remediation,
    alerts,
    slo,
    health,
    accounts,
    live,
    reference,
)


def create_app(q: PrismQ, settings: ServerSettings | None = None, *, configured: Settings | None = None) -> FastAPI:
    """The server's application over a queue. Nothing is opened before the first request.

    `configured`: all settings, of which alerts, service levels and backups are shown; None reads them from the
    environment and the configuration file of the current folder. Raises ConfigurationError where these are wrong.
    """
    settings = settings or ServerSettings()
    services = Services(q, settings, configured)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            services.close()

    app = FastAPI(
        title="PrismQ",
        description="Enqueue tasks, look at them, act on them. Errors are problem documents (RFC 9457); lists have "
        "cursors; times are ISO 8601 in UTC, durations seconds.",
        version=__version__,
        root_path=settings.root_path,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # What generated clients call the functions; by default they would be called after the paths.
        generate_unique_id_function=lambda route: f"{route.tags[0]}_{route.name}" if route.tags else route.name,
    )
    app.state.services = services
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # as FastAPI's documentation has it
    problems.install(app)
    for part in _ROUTES:
        app.include_router(part.router, dependencies=[KNOWN_QUERY])
    if settings.dashboard:
        pages.install(app)
    app.add_middleware(Conditional)
    app.add_middleware(Limits, hosts=_hosts(settings), body_bytes_max=settings.max_body_bytes)
    app.add_middleware(SecurityHeaders)
    q.store_as_it_is.insight.measure()
    app.add_middleware(Counting, counter=services.requests, clock=q.clock)
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once, with the form of all errors."""
    if not app.openapi_schema:
        document = FastAPI.openapi(app)
        problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**problem.pop("$defs"), "ProblemDocument": problem}
    return app.openapi_schema or {}


def asgi_app(q: PrismQ, **settings: Any) -> FastAPI:
    """The server's application to be mounted into another: `app.mount("/queue", asgi_app(q))`.

    `settings` are those of ServerSettings. Where it listens is the other application's business, so tokens are always
    asked for unless `auth="off"` says that the other one lets nobody in who should not be; then everybody is an admin.
    """
    auth = settings.pop("auth", "required")
    if auth == "off":  # then the names it answers to are the other's business, too
        settings.setdefault("allowed_hosts", ["*"])
    app = create_app(q, ServerSettings(auth=auth, **settings))
    app.state.services.accounts.trusts_mount = auth == "off"
    return app


def _hosts(settings: ServerSettings) -> list[str] | None:
    if settings.allowed_hosts is not None:
        return settings.allowed_hosts
    # Where nobody is asked who they are, a page of another site must not reach this server under a name of its own
    # that it lets point to loopback (DNS rebinding).
    return list(LOOPBACK_HOSTS) if is_loopback(settings.host) and settings.auth != "required" else None
