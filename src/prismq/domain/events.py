"""What the runtime reports. Whoever listens turns an event into a line, a counter or a span.

A listener that raises never fails a task. Times are seconds since 1970, durations are seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prismq.domain.lease import ErrorInfo, Lease


@dataclass(frozen=True)
class TaskEnqueued:
    """A task was written (or, with created=False, found by its key). Emitted after the commit."""

    task_id: int
    type: str
    queue: str
    priority: int
    created: bool
    headers: Mapping[str, str] | None = None  # as they were written


@dataclass(frozen=True)
class TasksEnqueued:
    """`count` tasks were written by one enqueue_many. Emitted after the commit."""

    types: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class TaskClaimed:
    lease: Lease


@dataclass(frozen=True)
class TaskStarted:
    lease: Lease
    at: float


@dataclass(frozen=True)
class TaskCompleted:
    """`extra`, here and in the other ends of attempts: what the attempt bound to its lines, and its trace ids."""

    lease: Lease
    wait_s: float
    run_s: float
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskFailedForGood:
    """The task became `failed`: it will not be retried."""

    lease: Lease
    error: ErrorInfo | None
    run_s: float
    reason: str
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskRetried:
    lease: Lease
    error: ErrorInfo | None
    run_s: float
    delay_s: float
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskSnoozed:
    lease: Lease
    delay_s: float
    reason: str
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskDeadLettered:
    lease: Lease
    error: ErrorInfo | None
    run_s: float
    reason: str
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskCancelledEvent:
    """A running task stopped because it was asked to; `reason` says how: cooperatively, interrupted or killed."""

    lease: Lease
    run_s: float
    reason: str
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskReleased:
    """Given back without using up an attempt."""

    lease: Lease
    reason: str
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskStuck:
    """A task was told to stop (timeout or cancel) and has not: its thread cannot be interrupted."""

    lease: Lease
    why: str
    since_s: float


@dataclass(frozen=True)
class LeasesRenewed:
    worker_id: str
    count: int
    lease_until: float


@dataclass(frozen=True)
class LeaseLostEvent:
    """This worker held a lease and no longer does; what its attempt did is not written."""

    lease: Lease


@dataclass(frozen=True)
class LeaseExpired:
    """A lease ran out, or its worker is known to be dead: the task went back, or to the dead letters."""

    task_id: int
    type: str
    worker_id: str | None
    attempt: int
    to: str
    reason: str


@dataclass(frozen=True)
class WorkerRegistered:
    worker_id: str
    hostname: str
    pid: int
    slots: int


@dataclass(frozen=True)
class WorkerHeartbeatSent:
    worker_id: str
    busy: int
    slots: int
    uptime_s: float
    status: str = "active"


@dataclass(frozen=True)
class WorkerStateChanged:
    worker_id: str
    status: str
    why: str


@dataclass(frozen=True)
class WorkerStopped:
    worker_id: str
    released: int
    uptime_s: float


@dataclass(frozen=True)
class WorkerProcessLost:
    """A worker process ended or was ended by its supervisor, and is replaced."""

    worker_id: str
    pid: int
    exit_code: int | None
    reason: str
    restarts: int
    replaced_in_s: float | None


@dataclass(frozen=True)
class WorkersScaled:
    """A supervisor changed how many processes it runs, or how many slots each of them has."""

    supervisor_id: str
    processes: int
    slots: int  # of each
    processes_before: int
    slots_before: int
    reason: str


@dataclass(frozen=True)
class Remediated:
    """Something was put right without anybody's doing. `target`: a task's id, a type, a queue or a worker."""

    act: str
    target: str
    reason: str
    tasks: int = 0


@dataclass(frozen=True)
class StoreUnavailable:
    """The store could not be reached; the worker keeps what it knows and tries again in `retry_in_s`."""

    worker_id: str
    error: str
    since_s: float
    retry_in_s: float


@dataclass(frozen=True)
class StoreRecovered:
    worker_id: str
    down_s: float


@dataclass(frozen=True)
class HintsLost:
    """Nobody tells this worker of new work just now; it looks every `poll_s` seconds."""

    worker_id: str
    error: str
    poll_s: float


@dataclass(frozen=True)
class HintsRecovered:
    worker_id: str


@dataclass(frozen=True)
class ScheduleFired:
    schedule: str
    task_id: int
    due_at: float
    missed: int  # slots passed over by the schedule's policy


@dataclass(frozen=True)
class TasksPruned:
    count: int


@dataclass(frozen=True)
class BackupMade:
    path: str
    size_bytes: int
    took_s: float


@dataclass(frozen=True)
class ChoreFailed:
    """Something that the housekeeping does (`backup`, `archive`, `sweep`) could not be done; it is tried again."""

    chore: str
    error: str


@dataclass(frozen=True)
class AlertFired:
    rule: str
    severity: str
    summary: str
    labels: dict[str, str]


@dataclass(frozen=True)
class AlertResolved:
    rule: str
    severity: str
    summary: str
    lasted_s: float


Event = (
    TaskEnqueued
    | TasksEnqueued
    | TaskClaimed
    | TaskStarted
    | TaskCompleted
    | TaskFailedForGood
    | TaskRetried
    | TaskSnoozed
    | TaskDeadLettered
    | TaskCancelledEvent
    | TaskReleased
    | TaskStuck
    | LeasesRenewed
    | LeaseLostEvent
    | LeaseExpired
    | WorkerRegistered
    | WorkerHeartbeatSent
    | WorkerStateChanged
    | WorkerStopped
    | WorkerProcessLost
    | WorkersScaled
    | Remediated
    | StoreUnavailable
    | StoreRecovered
    | HintsLost
    | HintsRecovered
    | ScheduleFired
    | TasksPruned
    | BackupMade
    | ChoreFailed
    | AlertFired
    | AlertResolved
)
Emit = Callable[[Event], None]


def wanted(emit: Emit, kind: type[Event]) -> bool:
    """Whether anybody listens to such events: where thousands a second are not, they need not be made.

    An Emit, and a listener behind it, may say so with a method `wants(kind)`; without it they get everything.
    """
    wants: Callable[[type[Event]], bool] | None = getattr(emit, "wants", None)
    return wants is None or wants(kind)


class Gatherer(ABC):
    """An Emit that takes what happened together at once: of thousands of lines a second, each written alone would cost
    as much as the tasks. A class and not a method to look for: what listens may have any methods."""

    def __call__(self, event: Event) -> None:
        """Emit."""
        self.all((event,))

    @abstractmethod
    def all(self, events: Sequence[Event]) -> None:
        """Emit these, in order."""


def emit_all(emit: Emit, events: Sequence[Event]) -> None:
    """Emit what happened together, in order."""
    if isinstance(emit, Gatherer):
        emit.all(events)
    else:
        for event in events:
            emit(event)


def emit_nothing(event: Event) -> None:
    """An Emit for those who do not want to know."""
