"""What to think of each worker, and of ready tasks that none of them takes. Pure: values in, values out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from prismq.domain.compatibility import matches, missing
from prismq.domain.errors import closest
from prismq.domain.times import to_epoch
from prismq.domain.words import duration, listed, plural
from prismq.domain.worker import Worker
from prismq.storage.contract import QueueInfo, ReadyRoute, Standing

HEARTBEAT_S = 10.0  # what a worker does unless it is told otherwise
LATE_HEARTBEATS = 2.5  # one may be lost, and the next be a little late
SILENT_HEARTBEATS = 6.0
SILENT_S_MIN = 60.0  # a lease at its default: nobody trusts a worker longer
IDLE_HEARTBEATS = 3.0  # the row tells of the last look and the last claim with each heartbeat only: two, and patience

LIVE = ("active", "paused", "draining")
LATE, SILENT, NOT_CONSUMING = "late heartbeat", "silent", "not consuming"

Depth = Mapping[tuple[str, str, str, str], int]


@dataclass(frozen=True)
class WorkerView:
    """A worker, and what to think of it."""

    worker: Worker
    age_s: float  # since its last heartbeat
    condition: str  # its status, or `late heartbeat`, `silent`, `not consuming`
    passes_over: ReadyRoute | None = None  # where `not consuming`: what it should have taken
    idle_s: float | None = None  # where `not consuming`: since it last looked, or claimed

    @property
    def live(self) -> bool:
        """Whether it runs, as far as anyone can tell."""
        return self.worker.status in LIVE and self.condition != SILENT

    @property
    def working(self) -> bool:
        """Whether it takes new tasks."""
        return self.live and self.worker.status == "active" and self.condition != NOT_CONSUMING

    @cached_property
    def queues(self) -> list[str] | None:
        """The queues it serves; None: all."""
        return _names(self.worker.queues)

    @cached_property
    def types(self) -> frozenset[str] | None:
        """The types it knows; None where it does not say."""
        names = _names(self.worker.types)
        return None if names is None else frozenset(names)

    @cached_property
    def capabilities(self) -> dict[str, Any]:
        """What it offers."""
        return self.worker.get_capabilities_dict()

    def serves_queue(self, queue: str) -> bool:
        """Whether it was told to serve this queue."""
        return self.queues is None or queue in self.queues

    def knows(self, type_: str) -> bool:
        """Whether it knows the type; a row that names no types knows all."""
        return self.types is None or type_ in self.types

    def offers(self, compatibility: str) -> bool:
        """Whether it offers what is asked, given as JSON; what cannot be read, nobody offers."""
        if compatibility in ("{}", ""):
            return True
        required = _object(compatibility)
        return required is not None and matches(required, self.capabilities)

    def serves(self, queue: str, type_: str, compatibility: str = "{}") -> bool:
        """Whether it would take such a task from this queue."""
        return self.serves_queue(queue) and self.knows(type_) and self.offers(compatibility)


class Obstacle(NamedTuple):
    """Why no worker takes tasks of a kind: a code for programs, a clause for people, and what both are made of."""

    code: str
    clause: str
    data: dict[str, Any]


class Unserved(NamedTuple):
    """Ready tasks of a queue that no live worker takes, for one reason."""

    queue: str
    types: list[str]
    tasks: int
    why: str
    exact: bool  # False: at least so many, because others of the type are served
    since: float  # seconds since 1970: when the first of them became ready

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"queue": self.queue, "types": self.types, "tasks": self.tasks, "why": self.why}


def age_of(when: datetime | None, now: float) -> float:
    """Seconds since then; infinite for never."""
    return float("inf") if when is None else now - to_epoch(when)


def open_queues(queues: Iterable[QueueInfo]) -> frozenset[str]:
    """Queues whose ready tasks any worker may have: not paused, and without a limit that others may have reached."""
    return frozenset(one.queue for one in queues if one.paused_at is None and one.max_running is None)


def at_limit(queue: QueueInfo) -> bool:
    """Whether the queue runs as many tasks as it may."""
    return queue.max_running is not None and running_of(queue) >= queue.max_running


def running_of(queue: QueueInfo) -> int:
    """How many of its tasks are in workers' hands."""
    return queue.depth.get("claimed", 0) + queue.depth.get("processing", 0)


def view_of(
    worker: Worker, now: float, heartbeat_s: float, routes: Iterable[ReadyRoute] = (), open_: Collection[str] = ()
) -> WorkerView:
    """A worker as it is. `routes`: what is ready; `open_`: the queues that can be claimed from."""
    age_s = age_of(worker.heartbeat_utc, now)
    view = WorkerView(worker, age_s, worker.status)
    if worker.status not in LIVE:
        return view
    if age_s > max(SILENT_HEARTBEATS * heartbeat_s, SILENT_S_MIN):
        return WorkerView(worker, age_s, SILENT)
    if age_s > LATE_HEARTBEATS * heartbeat_s:
        return WorkerView(worker, age_s, LATE)
    if worker.status == "active" and worker.busy < worker.slots:
        patience_s = IDLE_HEARTBEATS * heartbeat_s
        for route in routes:
            if route.queue in open_ and view.serves(*route[:3]):
                idle_s = _idle_s(worker, route, now, patience_s)
                if idle_s is not None:
                    return WorkerView(worker, age_s, NOT_CONSUMING, route, idle_s)
    return view


def _idle_s(worker: Worker, route: ReadyRoute, now: float, patience_s: float) -> float | None:
    """How long the worker has looked away, or claimed nothing while this waited; None where it does what it should."""
    waited_s = now - route.head_ready_at
    if waited_s <= patience_s:
        return None
    looked_s = age_of(worker.last_look_utc or worker.started_at_utc, now)
    if looked_s > patience_s:
        return looked_s
    claimed_s = age_of(worker.last_claim_utc or worker.started_at_utc, now)
    return min(claimed_s, waited_s) if claimed_s > patience_s else None


def views(
    workers: Iterable[Worker],
    queues: Iterable[QueueInfo],
    routes: Sequence[ReadyRoute],
    now: float,
    heartbeat_s: float = HEARTBEAT_S,
) -> list[WorkerView]:
    """All workers as they are, those that run first."""
    open_ = open_queues(queues)
    found = [view_of(worker, now, heartbeat_s, routes, open_) for worker in workers]
    return sorted(found, key=lambda one: (not one.live, one.worker.worker_id))


def crew_of(standing: Standing, heartbeat_s: float = HEARTBEAT_S) -> list[WorkerView]:
    """The same, of how things stand."""
    return views(standing.workers, standing.queues, standing.routes, standing.at, heartbeat_s)


def obstacle_for(queue: str, type_: str, compatibility: str, workers: Sequence[WorkerView]) -> Obstacle | None:
    """Why nobody takes such a task; None where somebody does."""
    live = [one for one in workers if one.live]
    if not live:
        silent = [one.worker.worker_id for one in workers if one.condition == SILENT]
        fell = f" ({plural(len(silent), 'worker')} fell silent)" if silent else ""
        return Obstacle("no_worker", f"no worker is running{fell}", {"silent": silent})
    serving = [one for one in live if one.serves_queue(queue)]
    if not serving:
        served = sorted({name for one in live for name in one.queues or ()})
        return Obstacle(
            "queue_unserved", f"no live worker serves the queue {queue!r}", {"queue": queue, "served": served}
        )
    knowing = [one for one in serving if one.knows(type_)]
    if not knowing:
        near = closest(type_, sorted({name for one in serving for name in one.types or ()}))
        return Obstacle(
            "type_unserved",
            f"no live worker of the queue {queue!r} knows the type {type_!r}",
            {"queue": queue, "type": type_, "hint": near.strip(), "workers": len(serving)},
        )
    offering = [one for one in knowing if one.offers(compatibility)]
    if not offering:
        return _incompatible(compatibility, knowing)
    taking = [one for one in offering if one.working]
    if not taking:
        conditions: dict[str, list[str]] = {}
        for one in offering:
            conditions.setdefault(one.condition, []).append(one.worker.worker_id)
        words = ", ".join(sorted(conditions))
        clause = f"the workers that could are not taking new tasks ({words})"
        return Obstacle("workers_not_taking", clause, {"conditions": conditions})
    return None


def _incompatible(compatibility: str, workers: Sequence[WorkerView]) -> Obstacle:
    required = _object(compatibility)
    if required is None:
        return Obstacle(
            "compatibility_unreadable",
            f"its compatibility is no JSON object: {compatibility[:100]!r}",
            {"compatibility": compatibility[:1000]},
        )
    nearest = min(workers, key=lambda one: (len(missing(required, one.capabilities)), one.worker.worker_id))
    lacks = missing(required, nearest.capabilities)
    return Obstacle(
        "compatibility_unserved",
        f"no live worker offers what it needs; {nearest.worker.worker_id}, the nearest, lacks {listed(lacks)}",
        {
            "required": required,
            "missing": lacks,
            "nearest_worker": nearest.worker.worker_id,
            "offered": {key: nearest.capabilities.get(key) for key in required},
        },
    )


def unserved(
    routes: Iterable[ReadyRoute], depth: Depth, queues: Iterable[QueueInfo], workers: Sequence[WorkerView]
) -> list[Unserved]:
    """Ready tasks that nobody takes, by queue and reason; paused queues are left out, for somebody wanted it so."""
    paused = {one.queue for one in queues if one.paused_at is not None}
    ready: dict[tuple[str, str], int] = {}
    for (queue, type_, status, _), tasks in depth.items():
        if status == "queued":
            ready[queue, type_] = ready.get((queue, type_), 0) + tasks
    left: dict[tuple[str, str], list[ReadyRoute]] = {}
    clauses: dict[tuple[str, str], str] = {}
    served: set[tuple[str, str]] = set()
    for route in routes:
        if route.queue in paused:
            continue
        obstacle = obstacle_for(*route[:3], workers)
        if obstacle is None:
            served.add((route.queue, route.type))
            continue
        # Types that nobody knows, one after the other, would be a page of the same words.
        reason = "type_unserved" if obstacle.code == "type_unserved" else obstacle.clause
        left.setdefault((route.queue, reason), []).append(route)
        clauses[route.queue, reason] = obstacle.clause
    found = []
    for (queue, reason), some in sorted(left.items()):
        types = sorted({route.type for route in some})
        alone = [type_ for type_ in types if (queue, type_) not in served and _is_only(queue, type_, reason, left)]
        partly = [route for route in some if route.type not in alone]
        tasks = sum(max(1, ready.get((queue, type_), 0)) for type_ in alone) + len(partly)
        why = clauses[queue, reason]
        if reason == "type_unserved":
            names = ", ".join(map(repr, types[:3])) + (" …" if len(types) > 3 else "")
            why = f"no live worker of the queue {queue!r} knows the type {names}"
        since = min(route.head_ready_at for route in some)
        found.append(Unserved(queue, types, tasks, why, exact=not partly, since=since))
    return found


def _is_only(queue: str, type_: str, reason: str, left: Mapping[tuple[str, str], list[ReadyRoute]]) -> bool:
    return not any(
        name == queue and other != reason and any(route.type == type_ for route in routes)
        for (name, other), routes in left.items()
    )


def told(view: WorkerView) -> str | None:
    """What is wrong with a worker, in a sentence; None where nothing is."""
    worker = view.worker
    if view.condition == SILENT:
        held = f" and it held {plural(worker.held, 'task')}" if worker.held else ""
        return (
            f"Worker {worker.worker_id} is {worker.status} by its own word, but its last heartbeat is "
            f"{duration(view.age_s)} old{held}; its process may be gone."
        )
    if view.condition == LATE:
        return f"Worker {worker.worker_id} is late: its last heartbeat is {duration(view.age_s)} old."
    if view.condition == NOT_CONSUMING and view.passes_over is not None:
        free = worker.slots - worker.busy
        return (
            f"Worker {worker.worker_id} is alive with {plural(free, 'free slot')}, but has claimed nothing for "
            f"{duration(view.idle_s)} while task {view.passes_over.head_id} ({view.passes_over.type}) of the queue "
            f"{view.passes_over.queue!r} waits."
        )
    return None


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return [str(one) for one in value] if isinstance(value, list) else None
