"""Finding what to claim, at a cost that does not grow with what lies in the queue.

A lane is a (queue, route) that has ready tasks, or a whole queue where the worker can serve all its routes.
Each lane gives its heads from one index in the order of the strategy; the heads are merged here into how many each
lane has to give, and the claim itself takes that many of each that nobody else is taking just now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from prismq.domain.lease import Lease
from prismq.domain.strategy import WEIGHT_COUNT_MAX, SchedulingStrategy, draw_classes
from prismq.storage.contract import ClaimRequest
from prismq.storage.lanes import open_routes
from prismq.storage.postgres.database import Connection
from prismq.storage.postgres.queries import query

_LOCK_LIMITS = query("lock_limits")
_RUNNING_OF_QUEUES = query("running_of_queues")
_READY_ROUTES = query("ready_routes")
_READY_ROUTES_OF_QUEUES = query("ready_routes_of_queues")
_PRIORITIES = query("ready_priorities")
_LOCK_PROBES = query("lock_probes")
_TAKE_PROBES = query("take_probes")

_LOCK = "FOR NO KEY UPDATE SKIP LOCKED"
_HEADS = query("heads")
_OLDEST = query("oldest_heads")
_NEWEST = query("newest_heads")
_LOOK_AT_HEADS = _HEADS.replace(":lock", "")
_LOOK_AT_OLDEST = _OLDEST.replace(":lock", "")
_LOOK_AT_NEWEST = _NEWEST.replace(":lock", "")
_CLAIM = query("claim")
_CLAIM_HEADS = _CLAIM.replace(":heads", _HEADS.replace(":lock", _LOCK))
_CLAIM_OLDEST = _CLAIM.replace(":heads", _OLDEST.replace(":lock", _LOCK))
_CLAIM_NEWEST = _CLAIM.replace(":heads", _NEWEST.replace(":lock", _LOCK))
# With no room for any where something is not as usual.
_AS_USUAL = "(SELECT CASE WHEN ({}) THEN %(most)s::int[] ELSE '{{0}}' END)".format(query("as_usual"))
_CLAIM_USUAL = _CLAIM_HEADS.replace("%(most)s::int[]", _AS_USUAL.replace(":routes", _READY_ROUTES))
_CLAIM_USUAL_QUEUE = _CLAIM_HEADS.replace("%(most)s::int[]", _AS_USUAL.replace(":routes", _READY_ROUTES_OF_QUEUES))
_KNOWN_MAX = 100


class Lane(NamedTuple):
    """Where ready tasks lie. route None: the whole queue. priority None: all of them, in their order. probe: one of
    them may be tried, and no more."""

    queue: str
    route: str | None
    priority: int | None = None
    probe: bool = False

    @property
    def type(self) -> str:
        """Of a lane of one route."""
        return type_of(self.route or "")


class Usual(NamedTuple):
    """Who could last claim all of one queue, where nothing was paused or limited, and the routes served there."""

    worker_id: str
    queues: tuple[str, ...] | None
    can_serve: Callable[[str, str], bool]
    queue: str
    routes: frozenset[str]

    def holds_for(self, request: ClaimRequest) -> bool:
        """Whether it is the same worker that asks, in the same way."""
        return request.strategy is SchedulingStrategy.PRIORITY and self[:3] == (
            request.worker_id, request.queues, request.can_serve,
        )  # fmt: skip


class Look:
    """What may be claimed from: the questions, sent together, and then their answers."""

    def __init__(self, connection: Connection, request: ClaimRequest, settings: Any) -> None:
        """`settings`: the cursor of begin_exchange.sql."""
        self._request = request
        self._settings = settings
        if request.queues is None:
            self._routes = connection.execute(_READY_ROUTES)
        else:
            self._routes = connection.execute(_READY_ROUTES_OF_QUEUES, {"queues": sorted(set(request.queues))})

    def lanes(self) -> list[Lane]:
        """The lanes this worker can serve."""
        found = self._settings.fetchall()
        settings = [row[:3] for row in found if row[0] is not None]
        breakers: dict[str, bool] = {row[3]: row[4] for row in found if row[3] is not None}
        closed = {queue for queue, is_paused, most in settings if is_paused or (most is not None and most <= 0)}
        by_queue: dict[str, list[str]] = {}
        for queue, route in self._routes.fetchall():
            if queue not in closed:
                by_queue.setdefault(queue, []).append(route)
        lanes: list[Lane] = []
        for queue, routes in by_queue.items():
            fitting = [route for route in routes if self._request.can_serve(*parts_of(route))]
            if breakers and any(type_of(route) in breakers for route in fitting):
                lanes.extend(
                    Lane(queue, route, probe=probe) for route, probe in open_routes(fitting, breakers, type_of)
                )
            elif len(fitting) == len(routes):
                lanes.append(Lane(queue, None))
            else:
                lanes.extend(Lane(queue, route) for route in fitting)
        self._ready = by_queue
        self._plain = not found and lanes == [Lane(queue, None) for queue in by_queue] and len(lanes) == 1
        limited = {queue: most for queue, _, most in settings if most is not None}
        self._limits = {queue: limited[queue] for queue in {lane.queue for lane in lanes} if queue in limited}
        return lanes

    def usual(self, before: Usual | None) -> Usual | None:
        """What the next claim may go by without a look, after `lanes()`."""
        if not self._ready:
            return before  # nothing was ready, which says nothing
        request = self._request
        if not self._plain or request.strategy is not SchedulingStrategy.PRIORITY:
            return None
        if request.queues is not None and len(set(request.queues)) > 1:
            return None
        [(queue, routes)] = self._ready.items()
        known = frozenset(routes)
        if before is not None and before.queue == queue and before.holds_for(request):
            known |= before.routes
        if len(known) > _KNOWN_MAX:
            return None
        return Usual(request.worker_id, request.queues, request.can_serve, queue, known)

    def room(self, connection: Connection) -> dict[str, int]:
        """How many more tasks each limited queue among the lanes may start.

        From here to the commit no other process claims from them: only so does a limit hold for all together.
        """
        if not self._limits:
            return {}
        names = sorted(self._limits)
        connection.execute(_LOCK_LIMITS, (names,))
        running: dict[str, int] = dict(connection.execute(_RUNNING_OF_QUEUES, (names,)).fetchall())
        return {queue: max(0, most - running.get(queue, 0)) for queue, most in self._limits.items()}


def with_locked_probes(connection: Connection, lanes: list[Lane]) -> list[Lane]:
    """The lanes without those whose probe somebody else is taking just now; the others are ours until the commit."""
    types = sorted({lane.type for lane in lanes if lane.probe})
    if not types:
        return lanes
    ours = {type_ for (type_,) in connection.execute(_LOCK_PROBES, (types,)).fetchall()}
    return [lane for lane in lanes if not lane.probe or lane.type in ours]


def take_probes(connection: Connection, request: ClaimRequest, wanted: Pick, now: datetime, until: datetime) -> None:
    """Of types of which a task may be tried, those are that were claimed; the others wait for their end."""
    types = sorted({lane.type for lane in wanted.quotas if lane.probe})
    if types:
        connection.execute(_TAKE_PROBES, {"worker": request.worker_id, "types": types, "now": now, "until": until})


def type_of(route: str) -> str:
    """The type that a route stands for."""
    return parts_of(route)[0]


@lru_cache(maxsize=4096)
def parts_of(route: str) -> tuple[str, str]:
    """The type and the compatibility that a route stands for."""
    type_, newline, compatibility = route.rpartition("\n")
    # As it was enqueued: jsonb puts spaces in.
    return (type_, to_json(from_json(compatibility)).decode()) if newline else (route, "{}")


class Pick(NamedTuple):
    """How many to take of each lane, and by which statement."""

    sql: Any
    quotas: dict[Lane, int]


def pick(connection: Connection, request: ClaimRequest, lanes: list[Lane], room: dict[str, int]) -> Pick | None:
    """What to claim: at most request.limit. None where there is nothing."""
    limit, strategy = request.limit, request.strategy
    lanes = [lane for lane in lanes if room.get(lane.queue) != 0]
    if limit <= 0 or not lanes:
        return None
    if strategy is SchedulingStrategy.PRIORITY:
        sql, look = _CLAIM_HEADS, _LOOK_AT_HEADS
    else:
        newest = strategy is SchedulingStrategy.LIFO
        sql, look = (_CLAIM_NEWEST, _LOOK_AT_NEWEST) if newest else (_CLAIM_OLDEST, _LOOK_AT_OLDEST)
        lanes = _classes(connection, lanes)
    if len(lanes) == 1:  # nothing to weigh against each other
        return Pick(sql, {lanes[0]: 1 if lanes[0].probe else min(limit, room.get(lanes[0].queue, limit))})
    most = limit + WEIGHT_COUNT_MAX if strategy is SchedulingStrategy.WEIGHTED_RANDOM else limit
    rows = connection.execute(look, _params(lanes, [1 if lane.probe else most for lane in lanes])).fetchall()
    heads = _one_probe([(priority, task_id, lanes[number - 1]) for number, priority, task_id in rows])
    if strategy is SchedulingStrategy.WEIGHTED_RANDOM:
        heads = _draw(heads, request, room)
    elif strategy is SchedulingStrategy.PRIORITY:
        heads.sort(key=lambda head: head[:2])
    else:
        heads.sort(key=lambda head: head[1], reverse=strategy is SchedulingStrategy.LIFO)
    quotas = Counter(lane for _, _, lane in list(_within(heads, room))[:limit])
    return Pick(sql, dict(quotas)) if quotas else None


def _classes(connection: Connection, lanes: list[Lane]) -> list[Lane]:
    rows = connection.execute(_PRIORITIES, ([lane.queue for lane in lanes], [lane.route for lane in lanes])).fetchall()
    return [lanes[number - 1]._replace(priority=priority) for number, priority in rows]


def _params(lanes: Iterable[Lane], most: Sequence[int]) -> dict[str, Any]:
    found = list(lanes)
    return {
        "queues": [lane.queue for lane in found],
        "routes": [lane.route for lane in found],
        "priorities": [lane.priority for lane in found],
        "most": list(most),
    }


_Head = tuple[int, int, Lane]  # priority, id


def _one_probe(heads: list[_Head]) -> list[_Head]:
    """The same, where a lane of which one may be tried gave one for each priority."""
    tried: set[str] = set()
    found = []
    for head in heads:
        if head[2].probe:
            if head[2].type in tried:
                continue
            tried.add(head[2].type)
        found.append(head)
    return found


def _within(heads: list[_Head], room: dict[str, int]) -> Iterator[_Head]:
    left = dict(room)
    for head in heads:
        queue = head[2].queue
        if queue in left:
            if left[queue] <= 0:
                continue
            left[queue] -= 1
        yield head


def _draw(heads: list[_Head], request: ClaimRequest, room: dict[str, int]) -> list[_Head]:
    candidates: list[_Head] = []
    for queue in dict.fromkeys(head[2].queue for head in heads):
        here = [head for head in heads if head[2].queue == queue]
        # A limited queue enters the draw with no more than it may start: what it won in vain, others would miss.
        candidates += _drawn(here, room[queue], request.rng) if queue in room else here
    return _drawn(candidates, request.limit, request.rng)


def _drawn(heads: list[_Head], limit: int, rng: Random) -> list[_Head]:
    quota = draw_classes(Counter(priority for priority, _, _ in heads), limit, rng)
    drawn = []
    for head in sorted(heads, key=lambda head: head[:2]):
        if quota.get(head[0], 0) > 0:
            quota[head[0]] -= 1
            drawn.append(head)
    return drawn


def claim(connection: Connection, request: ClaimRequest, wanted: Pick, now: datetime, until: datetime) -> Any:
    """Send the claim; its rows, fetched once the transaction is over, are for `leases_of`."""
    params = _params(wanted.quotas, list(wanted.quotas.values()))
    return connection.execute(wanted.sql, {**params, "worker": request.worker_id, "now": now, "until": until})


def claim_as(usual: Usual, connection: Connection, request: ClaimRequest, now: datetime, until: datetime) -> Any:
    """Send the claim without a look; no rows, where something may be different from last time."""
    sql = _CLAIM_USUAL if request.queues is None else _CLAIM_USUAL_QUEUE
    params = _params([Lane(usual.queue, None)], [request.limit])
    known = sorted(usual.routes)
    return connection.execute(sql, {**params, "known": known, "worker": request.worker_id, "now": now, "until": until})


def leases_of(rows: list[tuple[Any, ...]], request: ClaimRequest, now: float, skew_s: float) -> list[Lease]:
    """The leases that `claim` won, in the order of the strategy. `now` is the caller's, by which it will judge them."""
    lease_until = now + request.lease_s
    leases = [
        Lease(
            task_id, token, revision, type_, queue, priority, payload, attempt, max_attempts, request.worker_id,
            now, lease_until, run_after - skew_s, timeout_s, backoff, retention_s, crashes, headers, schedule, key,
        )
        for (task_id, token, revision, type_, queue, priority, payload, attempt, max_attempts, run_after,
             timeout_s, backoff, retention_s, crashes, headers, schedule, key) in rows
    ]  # fmt: skip
    if request.strategy is SchedulingStrategy.FIFO:
        leases.sort(key=lambda lease: lease.task_id)
    elif request.strategy is SchedulingStrategy.LIFO:
        leases.sort(key=lambda lease: -lease.task_id)
    else:
        leases.sort(key=lambda lease: (lease.priority, lease.task_id))
    return leases
