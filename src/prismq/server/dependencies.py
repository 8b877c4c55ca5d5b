"""What a route or a page asks for by its parameters' types."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from prismq.server.auth import PUBLIC, Admin, Operator, Principal, Viewer, csrf_token
from prismq.server.services import Services

__all__ = ["PUBLIC", "Admin", "Csrf", "Operator", "Principal", "Serving", "Viewer"]


async def _services(request: HTTPConnection) -> Services:
    services: Services = request.app.state.services
    return services


async def _csrf(request: HTTPConnection) -> str:
    return csrf_token(request)


Serving = Annotated[Services, Depends(_services)]
# After the role: `async def page(who: Viewer, csrf: Csrf)`.
Csrf = Annotated[str, Depends(_csrf)]
