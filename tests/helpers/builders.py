"""Tasks, claims and settlements in one line each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from prismq.clock import Clock
from prismq.domain.lease import ErrorInfo, Lease, LogLine, Settlement
from prismq.domain.status import TaskStatus
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import NewTask, Task
from prismq.domain.worker import Worker
from prismq.storage.contract import Batch, ClaimRequest, Exchanged, Retention, Store, WorkerReport

LEASE_S = 30.0
AN_ERROR = ErrorInfo("ValueError", "it broke", "Traceback (most recent call last): …")
KEEP_ALL = Retention(completed_s=1e9, failed_s=1e9, logs_s=1e9, workers_s=1e9)


def a_task(type_: str = "job", **options: Any) -> NewTask:
    """A task to enqueue; `options` are the fields of NewTask."""
    return NewTask(type=type_, **options)


def a_worker(worker_id: str = "w1", **options: Any) -> Worker:
    """A worker to register; `options` are the fields of Worker."""
    return Worker(worker_id=worker_id, **options)


def a_report(worker_id: str = "w1", **options: Any) -> WorkerReport:
    """A heartbeat; `options` are the fields of WorkerReport."""
    values: dict[str, Any] = {
        "status": "active", "slots": 4, "busy": 0, "held": 0, "completed": 0, "failed": 0, "retried": 0,
        "last_claim_at": None, "last_look_at": None, "cpu_percent": None, "memory_bytes": None, "note": None,
    }  # fmt: skip
    return WorkerReport(worker_id, **{**values, **options})


def everything(type_: str, compatibility: str) -> bool:
    """A worker that can serve whatever there is."""
    return True


def only(*types: str) -> Callable[[str, str], bool]:
    """A worker that serves these types, whatever they ask for."""
    return lambda type_, _: type_ in types


def a_request(
    worker: str = "w1",
    *,
    limit: int = 10,
    lease_s: float = LEASE_S,
    strategy: SchedulingStrategy = SchedulingStrategy.PRIORITY,
    queues: tuple[str, ...] | None = None,
    can_serve: Callable[[str, str], bool] = everything,
    rng: Random | None = None,
) -> ClaimRequest:
    """What a worker asks for."""
    return ClaimRequest(worker, limit, lease_s, strategy, queues, can_serve, rng or Random(0))


def claim(store: Store, clock: Clock, worker: str = "w1", **options: Any) -> list[Lease]:
    """Claim, with nothing to write; `options` are those of `a_request`."""
    return store.work.exchange(Batch(), a_request(worker, **options), clock.now()).leases


def claim_one(store: Store, clock: Clock, worker: str = "w1", **options: Any) -> Lease:
    """Claim exactly one."""
    [lease] = claim(store, clock, worker, **{"limit": 1, **options})
    return lease


def settlement(lease: Lease, to: TaskStatus, at: float, **options: Any) -> Settlement:
    """How the attempt under `lease` ended; the handler began with the claim unless `started_at` says otherwise."""
    options.setdefault("was", TaskStatus.CLAIMED)
    if to is not TaskStatus.PROCESSING:
        options.setdefault("started_at", lease.claimed_at)
    return Settlement(lease=lease, to=to, at=at, **options)


def settle(store: Store, clock: Clock, lease: Lease, to: TaskStatus, **options: Any) -> Exchanged:
    """Write one settlement."""
    return store.work.exchange(Batch(settlements=[settlement(lease, to, clock.now(), **options)]), None, clock.now())


def start(store: Store, clock: Clock, lease: Lease) -> Exchanged:
    """The handler has begun."""
    return settle(store, clock, lease, TaskStatus.PROCESSING)


def complete(store: Store, clock: Clock, lease: Lease, **options: Any) -> Exchanged:
    """Acknowledge."""
    return settle(store, clock, lease, TaskStatus.COMPLETED, **options)


def retry_later(store: Store, clock: Clock, lease: Lease, delay_s: float = 10.0, **options: Any) -> Exchanged:
    """The attempt failed and another will follow."""
    options.setdefault("error", AN_ERROR)
    return settle(store, clock, lease, TaskStatus.SCHEDULED, run_after=clock.now() + delay_s, **options)


def dead_letter(store: Store, clock: Clock, lease: Lease, **options: Any) -> Exchanged:
    """The last attempt failed."""
    return settle(store, clock, lease, TaskStatus.DEAD_LETTER, error=AN_ERROR, **options)


def a_line(lease: Lease, message: str, clock: Clock, level: str = "INFO") -> LogLine:
    """A log line of the attempt under `lease`."""
    return LogLine(lease.task_id, clock.now(), level, message, None, lease.attempt)


def the_task(store: Store, task_id: int) -> Task:
    """The task, which must be there."""
    task = store.tasks.get(task_id)
    assert task is not None, f"task {task_id} is gone"
    return task


def status_of(store: Store, task_id: int) -> str:
    """The status of a task, which must be there."""
    return the_task(store, task_id).status
