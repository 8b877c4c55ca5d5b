"""The dashboard: HTML pages over the views, and the forms on them."""

from __future__ import annotations

from fastapi import FastAPI

from prismq.server.pages import acting, alerting, errors, looking, runbooks, sessions, steering
from prismq.server.pages.rendering import Rendering
from prismq.server.pages.static import Assets


def install(app: FastAPI) -> None:
    """Add the pages, their static files, and the page that tells of an error."""
    app.state.rendering = Rendering()
    app.mount("/static", Assets(), name="static")
    # Before those with an id in their path: `/tasks/new` is no task.
    for part in (sessions, acting, looking, alerting, runbooks, steering):
        app.include_router(part.router, include_in_schema=False)
    app.state.page_error = errors.page
