"""The routes of a server, and the role that each asks for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from prismq import PrismQ
from prismq.domain.account import Role
from prismq.server import ServerSettings, create_app
from prismq.server.auth import PUBLIC, Needs


def role_of(route: BaseRoute) -> Role | None:
    """The role that a route asks for; None where it is open to everybody, and says so."""
    dependant = route.dependant  # type: ignore[attr-defined]
    calls, found = [dependant], []
    while calls:
        one = calls.pop()
        found.append(one.call)
        calls += one.dependencies
    roles = [call.role for call in found if isinstance(call, Needs)]
    assert roles or PUBLIC.dependency in found, f"{route.path} names no role"  # type: ignore[attr-defined]
    return max(roles, key=list(Role).index) if roles else None


def routes_of(app: FastAPI) -> list[BaseRoute]:
    """Every route that somebody can ask for."""
    found: list[BaseRoute] = []

    def walk(routes: list[BaseRoute]) -> None:
        for route in routes:
            if hasattr(route, "dependant"):
                found.append(route)
            elif isinstance(route, Mount):
                assert route.name == "static", f"{route.path} is mounted, and has no role"
            elif hasattr(route, "original_router"):
                walk(route.original_router.routes)
            elif hasattr(route, "routes"):
                walk(route.routes)
            else:
                assert getattr(route, "path", "") == "/openapi.json", route

    walk(list(app.routes))
    return found


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Method, path, role and summary of each route of the API, by path."""
    with tempfile.TemporaryDirectory() as folder, PrismQ(f"{folder}/queue.db") as q:
        app = create_app(q, ServerSettings(dashboard=False))
    found = []
    for route in routes_of(app):
        role = role_of(route)
        if isinstance(route, APIRoute):
            if route.include_in_schema:
                found += [(route.path, method, role, route.summary) for method in route.methods]
        else:
            found.append((route.path, "WS", role, "The live feed"))  # type: ignore[attr-defined]
    for path, method, role, summary in sorted(found):
        yield method, path, "anybody" if role is None else role.value, str(summary)
