"""Every error as a problem document (RFC 9457): what happened and what to do, and nothing of the inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket

from prismq.domain.errors import (
    ConfigurationError,
    InvalidArgument,
    InvalidTransition,
    PayloadTooLarge,
    PrismqError,
    QueueBusyError,
    QueueDatabaseError,
    TaskNotFound,
    UnknownStatus,
)

MEDIA_TYPE = "application/problem+json"
_SHOWN_CHARS_MAX = 200
_ERRORS_MAX = 20

PageError = Callable[[Request, "Problem"], Response]


class Problem(Exception):
    """Raise it in a route: it becomes a problem document, or the dashboard's page for it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        self.status, self.detail = status, detail
        self.title = title or HTTPStatus(status).phrase
        self.headers = dict(headers or {})
        self.members = members
        super().__init__(detail)

    def to_dict(self) -> dict[str, Any]:
        """The document."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }


class ErrorPlace(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(
        description="Where: body, query, path or header, and the names below it.", examples=["body.type"]
    )
    message: str = Field(description="What is wrong with it.", examples=["Field required"])


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no task 7"])
    errors: list[ErrorPlace] | None = Field(None, description="Of 422: each thing that is wrong.")


def is_page(request: Request) -> bool:
    """Whether a person's browser asked for a page, rather than a program for a document."""
    path = request.scope.get("path", "").removeprefix(request.scope.get("root_path", ""))
    if path.startswith(("/api/", "/health", "/metrics", "/openapi.json")):
        return False
    return "text/html" in request.headers.get("accept", "")


def respond(request: Request, problem: Problem) -> Response:
    """The answer to a request that ended with `problem`."""
    page: PageError | None = getattr(request.app.state, "page_error", None)
    if page is not None and is_page(request):
        return page(request, problem)
    return JSONResponse(problem.to_dict(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def of_error(error: PrismqError) -> Problem:
    """What an error of ours means to the one who asked."""
    text = _sentence(str(error))
    if isinstance(error, TaskNotFound):
        return Problem(404, text)
    if isinstance(error, PayloadTooLarge):
        return Problem(413, text)
    if isinstance(error, (InvalidArgument, UnknownStatus)):
        return Problem(422, text)
    if isinstance(error, InvalidTransition):
        return Problem(409, text)
    if isinstance(error, QueueBusyError):
        return Problem(503, text, title="Database Busy", headers={"Retry-After": "1"})
    if isinstance(error, (QueueDatabaseError, ConfigurationError)):
        return Problem(503, text, title="Database Unavailable", headers={"Retry-After": "5"})
    return Problem(500, "the server failed; its log says more")


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """A request that does not fit its model. Values are not repeated: they may be secret, and are the caller's own."""
    if any(one["type"] == "json_invalid" for one in errors):
        return Problem(400, "the body is not JSON")
    places = [
        {"where": ".".join(str(part)[:_SHOWN_CHARS_MAX] for part in one["loc"]), "message": str(one["msg"])[:500]}
        for one in errors[:_ERRORS_MAX]
    ]
    first = places[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, f"{first['where']}: {first['message']}{more}", errors=places)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document. `app.state.page_error` may answer browsers."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response | None:
        if request.scope["type"] == "websocket":
            await _deny(request, error)
            return None
        return respond(request, error)

    @app.exception_handler(PrismqError)
    async def _prismq_error(request: Request, error: PrismqError) -> Response | None:
        return await _problem(request, of_error(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = {
            404: "there is nothing here",
            405: f"{request.method[:20]} is not among the methods of this path",
        }.get(error.status_code, str(error.detail))
        return respond(request, Problem(error.status_code, detail, headers=error.headers))

    @app.exception_handler(Exception)
    async def _failed(request: Request, error: Exception) -> Response:
        return respond(request, Problem(500, "the server failed; its log says more"))


async def _deny(connection: Any, problem: Problem) -> None:
    """Refuse a WebSocket before it is one, with the document where the server can send it."""
    websocket: WebSocket = connection
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        answer = JSONResponse(problem.to_dict(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
        await websocket.send_denial_response(answer)
    else:
        await websocket.close(1008, problem.detail[:100])


def _sentence(text: str) -> str:
    return text[:2000]
