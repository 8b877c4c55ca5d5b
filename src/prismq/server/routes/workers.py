"""Workers: how they are, and telling them what to do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from prismq.app import PrismQ
from prismq.domain.worker import WorkerCommand
from prismq.observability.condition import WorkerView
from prismq.server.actions import Acting
from prismq.server.crew import views_of
from prismq.server.dependencies import Operator, Serving, Viewer
from prismq.server.problems import Problem
from prismq.server.routes.shapes import Input, Saved, Text, problems

router = APIRouter(prefix="/api/v1", tags=["workers"])

WorkerId = Annotated[Text, Path(description="The worker's id, or its beginning.", examples=["web-1-4711-ab12"])]


class Worker(BaseModel):
    """A worker process."""

    worker_id: str
    status: str = Field(description="By its own word: active, paused, draining, stopped, lost.", examples=["active"])
    condition: str = Field(
        description="What to think of it: its status, or `late heartbeat`, `silent`, `not consuming`.",
        examples=["active"],
    )
    live: bool = Field(description="Whether it runs, as far as anyone can tell.")
    seconds_since_heartbeat: float | None
    hostname: str | None
    pid: int | None
    version: str | None
    supervisor_id: str | None
    capabilities: dict[str, Any]
    queues: list[str] | None = Field(description="Those it serves; null: all.")
    types: list[str] | None = Field(description="Those it knows; null: it does not say.")
    strategy: str | None
    slots: int = Field(description="How many tasks it runs at a time.")
    busy: int = Field(description="How many it runs.")
    held: int = Field(description="How many it has claimed, those it runs among them.")
    utilization_percent: float | None = Field(description="Busy slots of all.")
    completed: int
    failed: int
    retried: int
    cpu_percent: float | None
    memory_bytes: int | None
    restarts: int
    started_at: datetime | None
    stopped_at: datetime | None
    heartbeat_at: datetime | None
    last_claim_at: datetime | None
    note: str | None


class Workers(BaseModel):
    """The workers, latest heartbeat first."""

    items: list[Worker]


class WorkerMetrics(BaseModel):
    """A worker's figures since it started."""

    worker_id: str
    status: str
    uptime_seconds: float | None
    slots: int
    busy: int
    utilization_percent: float | None
    tasks_completed: int
    tasks_failed: int
    tasks_retried: int
    success_rate: float | None = Field(description="Completed of those that ended, 0 to 1; null where none did.")
    tasks_per_minute: float | None
    avg_processing_time_seconds: float | None = Field(description="Of all attempts that ended.")
    cpu_percent: float | None
    memory_bytes: int | None
    restarts: int


class Slots(Input):
    """How many tasks at a time."""

    slots: int = Field(strict=True, ge=1, le=1000, examples=[16])


def worker_of(view: WorkerView) -> Worker:
    """A worker for the API."""
    row = view.worker
    return Worker(
        worker_id=row.worker_id,
        status=row.status,
        condition=view.condition,
        live=view.live,
        seconds_since_heartbeat=None if view.age_s == float("inf") else round(view.age_s, 3),
        hostname=row.hostname,
        pid=row.pid,
        version=row.version,
        supervisor_id=row.supervisor_id,
        capabilities=view.capabilities,
        queues=view.queues,
        types=None if view.types is None else sorted(view.types),
        strategy=row.strategy,
        slots=row.slots,
        busy=row.busy,
        held=row.held,
        utilization_percent=_utilization(view),
        completed=row.completed,
        failed=row.failed,
        retried=row.retried,
        cpu_percent=row.cpu_percent,
        memory_bytes=row.memory_bytes,
        restarts=row.restarts,
        started_at=row.started_at_utc,
        stopped_at=row.stopped_at_utc,
        heartbeat_at=row.heartbeat_utc,
        last_claim_at=row.last_claim_utc,
        note=row.note,
    )


def _utilization(view: WorkerView) -> float | None:
    return round(100 * view.worker.busy / view.worker.slots, 1) if view.worker.slots else None


def _view(q: PrismQ, worker_id: str) -> WorkerView:
    known = views_of(q)
    exact = [one for one in known if one.worker.worker_id == worker_id]
    found = exact or [one for one in known if one.worker.worker_id.startswith(worker_id)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Problem(409, f"{worker_id!r} means {len(found)} workers; give more of the id")
    raise Problem(404, f"there is no worker {worker_id!r}")


@router.get("/workers", summary="List workers", response_model=Workers, responses=problems())
async def list_workers(
    who: Viewer,
    serving: Serving,
    ended: Annotated[bool, Query(description="Those that have ended, too.")] = False,
) -> Workers:
    """Latest heartbeat first."""
    found = await serving.ask(views_of)
    return Workers(items=[worker_of(one) for one in found if ended or one.worker.status not in ("stopped", "lost")])


@router.get("/workers/{worker_id}/status", summary="A worker", response_model=Worker, responses=problems(404, 409))
async def worker_status(worker_id: WorkerId, who: Viewer, serving: Serving) -> Worker:
    """How it is."""
    return worker_of(await serving.ask(lambda q: _view(q, worker_id)))


@router.get(
    "/metrics/workers/{worker_id}", summary="A worker's figures", response_model=WorkerMetrics,
    responses=problems(404, 409),
)  # fmt: skip
async def worker_metrics(worker_id: WorkerId, who: Viewer, serving: Serving) -> WorkerMetrics:
    """Since it started."""

    def find(q: PrismQ) -> WorkerMetrics:
        view, now = _view(q, worker_id), q.clock.now()
        row = view.worker
        end = row.stopped_at_utc.timestamp() if row.stopped_at_utc else now
        uptime_s = max(0.0, end - row.started_at_utc.timestamp()) if row.started_at_utc else None
        ended, attempts = row.completed + row.failed, row.completed + row.failed + row.retried
        return WorkerMetrics(
            worker_id=row.worker_id,
            status=row.status,
            uptime_seconds=uptime_s,
            slots=row.slots,
            busy=row.busy,
            utilization_percent=_utilization(view),
            tasks_completed=row.completed,
            tasks_failed=row.failed,
            tasks_retried=row.retried,
            success_rate=row.completed / ended if ended else None,
            tasks_per_minute=row.completed / uptime_s * 60 if uptime_s else None,
            avg_processing_time_seconds=row.run_s / attempts if attempts else None,
            cpu_percent=row.cpu_percent,
            memory_bytes=row.memory_bytes,
            restarts=row.restarts,
        )

    return await serving.ask(find)


@router.post("/workers/{worker_id}/pause", summary="Pause a worker", response_model=Saved, responses=problems(404, 409))
async def pause(worker_id: WorkerId, who: Operator, acting: Acting) -> Saved:
    """It finishes what it has, and claims nothing. It is told with its next look, within a second or so."""
    await acting(lambda actor: actor.tell_worker(worker_id, WorkerCommand.PAUSE))
    return Saved(done=True)


@router.post(
    "/workers/{worker_id}/resume", summary="Resume a worker", response_model=Saved, responses=problems(404, 409)
)
async def resume(worker_id: WorkerId, who: Operator, acting: Acting) -> Saved:
    """A paused worker claims again."""
    await acting(lambda actor: actor.tell_worker(worker_id, WorkerCommand.RESUME))
    return Saved(done=True)


@router.post("/workers/{worker_id}/drain", summary="Drain a worker", response_model=Saved, responses=problems(404, 409))
async def drain(worker_id: WorkerId, who: Operator, acting: Acting) -> Saved:
    """It finishes what it has, and ends."""
    await acting(lambda actor: actor.tell_worker(worker_id, WorkerCommand.DRAIN))
    return Saved(done=True)


@router.post(
    "/workers/{worker_id}/resize", summary="Resize a worker", response_model=Saved, responses=problems(404, 409, 415)
)
async def resize(worker_id: WorkerId, new: Slots, who: Operator, acting: Acting) -> Saved:
    """How many tasks it runs at a time."""
    await acting(lambda actor: actor.tell_worker(worker_id, WorkerCommand.RESIZE, new.slots))
    return Saved(done=True)
