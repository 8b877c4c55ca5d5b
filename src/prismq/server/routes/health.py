"""Health for people, programs and orchestrators, and the metrics page."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from prismq.domain.account import Role
from prismq.domain.errors import PrismqError
from prismq.observability import health as judging
from prismq.server.auth import PUBLIC, identify
from prismq.server.dependencies import Serving, Viewer
from prismq.server.problems import Problem
from prismq.server.routes.shapes import problems
from prismq.server.services import Services

router = APIRouter(tags=["health"])

_TIMEOUT_S = judging.TIMEOUT_S


class DatabaseCheck(BaseModel):
    """Whether the database answers."""

    status: str = Field(examples=["healthy"])
    response_time_ms: float | None = Field(examples=[0.4])


class RedisCheck(BaseModel):
    """Whether Redis answers; `not_configured` where there is none."""

    status: str = Field(examples=["not_configured"])
    response_time_ms: float | None = None


class WorkersCheck(BaseModel):
    """Whether workers take tasks."""

    status: str = Field(examples=["healthy"])
    active_count: int | None = Field(examples=[5])
    total_count: int | None = Field(examples=[8])


class ApiCheck(BaseModel):
    """This server."""

    status: str = Field(examples=["healthy"])
    uptime_seconds: int = Field(examples=[7200])


class Checks(BaseModel):
    """Each check by its name; more than these where tokens are asked for only with one, or on loopback."""

    model_config = {"extra": "allow"}

    database: DatabaseCheck
    redis: RedisCheck
    workers: WorkersCheck
    api: ApiCheck


class Health(BaseModel):
    """The verdict. `sentence` and `problems` are for those who may look (viewer)."""

    status: str = Field(description="healthy, degraded or unhealthy.", examples=["healthy"])
    version: str = Field(examples=["0.1.0"])
    timestamp: datetime = Field(examples=["2026-01-25T14:00:00Z"])
    checks: Checks
    sentence: str | None = None
    problems: list[str] | None = None


class Probe(BaseModel):
    """Yes or no, and why."""

    ok: bool
    reason: str = Field(examples=["the database answers"])


class ConnectionPool(BaseModel):
    """The connections of this server to the database."""

    active: int | None
    idle: int | None
    total: int | None


class DatabaseHealth(BaseModel):
    """The database."""

    status: str = Field(examples=["healthy"])
    connection_pool: ConnectionPool
    query_latency_ms: float | None = Field(examples=[0.4])


class RedisHealth(BaseModel):
    """Redis; `not_configured`, and nulls, where there is none."""

    status: str = Field(examples=["not_configured"])
    memory_mb: float | None
    connected_clients: int | None
    ops_per_second: float | None


class WorkersHealth(BaseModel):
    """The workers."""

    status: str = Field(examples=["healthy"])
    active_workers: int | None
    total_workers: int | None
    healthy_workers: int | None
    unhealthy_workers: int | None


_UNHEALTHY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Unhealthy"}}
_NOT: dict[int | str, dict[str, Any]] = {503: {"model": Probe, "description": "No"}}


async def health_of(services: Services) -> judging.Health:
    """Asked for at most two seconds; never an error, a database that is away is a finding."""
    await _prepare(services)
    q = services.q
    redis = services.redis_probe
    # Not in the pool of the others: it asks in threads of its own, and answers while the pool is stuck.
    return await run_in_threadpool(
        lambda: judging.check_health(
            q.store_as_it_is,
            q.clock,
            redis=redis,
            api_uptime_s=services.uptime_s,
            timeout_s=_TIMEOUT_S,
            memory=services.past,
        )
    )


async def _prepare(services: Services) -> None:
    """A new database is set up, once; one that is away is for the check to find."""
    if services.prepared:
        return
    with suppress(Problem, PrismqError):
        await services.ask(lambda q: q.store, timeout_s=_TIMEOUT_S)
        services.prepared = True


@router.get("/health", summary="Health", response_model=Health, responses=_UNHEALTHY, dependencies=[PUBLIC])
async def health(request: Request, serving: Serving) -> Response:
    """For everybody: how it is, in figures. Whoever may look also gets the sentences, which name queues and workers.
    503 where it is unhealthy."""
    found = await health_of(serving)
    document = found.to_dict()
    if not await _may_look(request):
        document["checks"] = {name: document["checks"][name] for name in Checks.model_fields}
        document["sentence"] = document["problems"] = None
    return JSONResponse(document, 503 if found.status == judging.UNHEALTHY else 200)


async def _may_look(request: Request) -> bool:
    try:
        return (await identify(request)).may(Role.VIEWER)
    except (Problem, PrismqError):
        return False


@router.get("/health/live", summary="Is it alive?", response_model=Probe, responses=_NOT, dependencies=[PUBLIC])
async def live() -> Probe:
    """For an orchestrator: whether this process answers. A database that is away is no reason to restart it."""
    return Probe(ok=True, reason="the server answers")


@router.get("/health/ready", summary="Is it ready?", response_model=Probe, responses=_NOT, dependencies=[PUBLIC])
async def ready(request: Request, serving: Serving) -> Response:
    """For an orchestrator: whether tasks can be enqueued from here. The reason is for those who may look."""
    await _prepare(serving)
    q = serving.q
    found = await run_in_threadpool(lambda: judging.ready(q.store_as_it_is, q.clock, timeout_s=_TIMEOUT_S))
    reason = found.reason if found.ok or await _may_look(request) else "the database cannot be used"
    return JSONResponse({"ok": found.ok, "reason": reason}, 200 if found.ok else 503)


@router.get(
    "/api/v1/health/database", summary="The database's health", response_model=DatabaseHealth, responses=problems()
)
async def database(who: Viewer, serving: Serving) -> dict[str, Any]:
    """Whether it answers, how fast, and the connections of this server."""
    return (await health_of(serving)).database_document()


@router.get("/api/v1/health/redis", summary="Redis's health", response_model=RedisHealth, responses=problems())
async def redis(who: Viewer, serving: Serving) -> dict[str, Any]:
    """`not_configured` where there is none."""
    return (await health_of(serving)).redis_document()


@router.get("/api/v1/health/workers", summary="The workers' health", response_model=WorkersHealth, responses=problems())
async def workers(who: Viewer, serving: Serving) -> dict[str, Any]:
    """How many there are, and how many are well."""
    return (await health_of(serving)).workers_document()


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses={
        **problems(),
        200: {
            "description": "Prometheus text, OpenMetrics or JSON, whichever the Accept header likes best",
            "content": {"text/plain": {}, "application/openmetrics-text": {}, "application/json": {}},
        },
    },
)
async def metrics(request: Request, who: Viewer, serving: Serving) -> Response:
    """One scrape shows the whole system, whichever process did the work. docs/metrics.md lists them."""
    body, content_type = await serving.metrics(request.headers.get("accept"))
    return Response(body, media_type=content_type)
