"""The HTTP server: API, live feed and dashboard over a queue. Wants `pip install 'prismq[server]'`.

    app = create_app(PrismQ("queue.db"), ServerSettings())       # a FastAPI application; tests use it with httpx

How the parts meet (for whoever adds a route or a page):

- **A role for every route.** A parameter `who: Viewer`, `who: Operator` or `who: Admin` (prismq.server.dependencies)
  lets that role and those above it through, and is the `Principal` that asks: `who.name`, `who.role`, `who.via`
  ("token", "session", or "open" where nobody is asked), `who.may(Role.OPERATOR)` for what a page shows. What is open
  to everybody says so with `dependencies=[PUBLIC]`. A test walks the router and fails for a route with neither.
  Whoever is not known gets Problem 401, whoever may not, Problem 403.
- **The queue.** A parameter `serving: Serving`, then `await serving.ask(lambda q: q.tasks.find(limit=50))`: the
  function gets the PrismQ (`q.tasks`, `q.store`, `q.why`, `q.timeline`, `q.health`, `q.clock`) in a thread of a bounded
  pool, with a time limit. Never touch the queue on the event loop. Several questions of one page belong in one
  function. `serving.history` is the History of prismq.server.views that pages and API share. `serving.settings`,
  `serving.q.redactor` for payloads.
- **Acting.** A parameter `acting: Acting` (prismq.server.actions) after `who`, then
  `await acting(lambda actor: actor.cancel(7))`: the Actor has an action for each thing that can be done, which the API
  and the pages share, and writes each to the audit log. Bulk: `preview(q, action, which)` counts, then
  `actor.on_all(action, which, expected=n)`, which refuses (Problem 409) where more match by then.
- **CSRF.** A parameter `csrf: Csrf` *after* `who` is the token: forms send it as the field `csrf_token`, scripts as the
  header `X-CSRF-Token`. Unsafe requests with a cookie are checked (Origin, token) before the route runs: a page has
  nothing to do but send it. It also works where nobody signs in.
- **Signing in.** `prismq.server.sessions`: `await sign_in(request, response, token)` checks the rate limit and the
  token, starts a session and sets the cookie, or raises Problem 401 / 429; `await sign_out(request, response)`.
- **Errors.** Raise `Problem(404, "what happened, and what to do")`; what the queue raises becomes a Problem by itself.
  Programs get application/problem+json. For a browser (`Accept: text/html`, path not under /api, /health, /metrics)
  `app.state.page_error: Callable[[Request, Problem], Response]` answers, if pages set it: 401 there means "go to the
  sign-in page", 503 "the database is away".
- **Pages.** `prismq.server.pages.install(app)` is called by `create_app` where `settings.dashboard` is true: include a
  router (`include_in_schema=False`), mount the static files, set `app.state.page_error`. The Content-Security-Policy
  of every answer allows scripts, styles, fonts, images and connections from this server alone, nothing inline; a
  route's own headers win. Responses are `Cache-Control: no-store` unless they say otherwise.
  Links use `request.scope["root_path"]`, under which a proxy or another application may have mounted all this.
- **Live.** The WebSocket `/api/v1/live`: see prismq.server.routes.live for its messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prismq.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prismq.server.app import asgi_app, create_app
    from prismq.server.settings import ServerSettings

__all__ = ["ServerSettings", "asgi_app", "create_app"]

_HOMES = {
    "asgi_app": "prismq.server.app",
    "create_app": "prismq.server.app",
    "ServerSettings": "prismq.server.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "uvicorn", "jinja2"):
            raise
        raise ConfigurationError("the server wants FastAPI and uvicorn: pip install 'prismq[server]'") from error
