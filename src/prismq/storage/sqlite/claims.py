"""Finding what to claim, at a cost that does not grow with what lies in the queue.

A lane is a (queue, route) that has ready tasks, or a whole queue where the worker can serve all its routes.
Each lane gives its heads from one index in the order of the strategy; the heads are merged here.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from pydantic_core import to_json

from prismq.domain.lease import Lease
from prismq.domain.strategy import WEIGHT_COUNT_MAX, SchedulingStrategy, draw_classes
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import ClaimRequest
from prismq.storage.lanes import open_routes
from prismq.storage.sqlite.books import Ledger
from prismq.storage.sqlite.queries import query

_READY_QUEUES = query("ready_queues")
_READY_ROUTES = query("ready_routes")
_PRIORITIES_OF_QUEUE = query("ready_priorities_of_queue")
_PRIORITIES_OF_ROUTE = query("ready_priorities_of_route")
_HEAD_OF_QUEUE = query("head_of_queue")
_HEAD_OF_ROUTE = query("head_of_route")
_OLDEST_OF_QUEUE = query("oldest_of_queue")
_OLDEST_OF_ROUTE = query("oldest_of_route")
_NEWEST_OF_QUEUE = query("newest_of_queue")
_NEWEST_OF_ROUTE = query("newest_of_route")
_PAUSED_AND_LIMITED = query("paused_and_limited")
_RUNNING_OF_QUEUE = query("running_of_queue")
_CLAIM = query("claim")
_TAKE_PROBE = query("take_probe")


class Lane(NamedTuple):
    """Where ready tasks lie. route None: the whole queue. probe: one of them may be tried, and no more."""

    queue: str
    route: str | None
    probe: bool = False


Head = tuple[int, int]  # priority, id


def find_lanes(connection: sqlite3.Connection, request: ClaimRequest) -> tuple[list[Lane], dict[str, int]]:
    """The lanes this worker can serve, and how many more tasks each limited queue may start."""
    paused: set[str] = set()
    room: dict[str, int] = {}
    breakers: dict[str, bool] = {}  # of types that are not closed: whether one task of them may be tried
    for queue, is_paused, max_running, shut, may_try in connection.execute(_PAUSED_AND_LIMITED).fetchall():
        if shut is not None:
            breakers[shut] = bool(may_try)
        elif is_paused:
            paused.add(queue)
        elif max_running is not None:
            room[queue] = max(0, max_running - connection.execute(_RUNNING_OF_QUEUE, (queue,)).fetchone()[0])
    lanes: list[Lane] = []
    for (queue,) in connection.execute(_READY_QUEUES).fetchall():
        if queue in paused or room.get(queue) == 0 or (request.queues is not None and queue not in request.queues):
            continue
        routes = [route for (route,) in connection.execute(_READY_ROUTES, (queue,)).fetchall()]
        # A type written by hand may be a blob: nobody serves that.
        fitting = [route for route in routes if isinstance(route, str) and request.can_serve(*parts_of(route))]
        if breakers and any(type_of(route) in breakers for route in fitting):
            lanes.extend(Lane(queue, route, probe=probe) for route, probe in open_routes(fitting, breakers, type_of))
        elif len(fitting) == len(routes) and routes:
            lanes.append(Lane(queue, None))
        else:
            lanes.extend(Lane(queue, route) for route in fitting)
    return lanes, room


def type_of(route: str) -> str:
    """The type that a route stands for."""
    return parts_of(route)[0]


def parts_of(route: str) -> tuple[str, str]:
    """The type and the compatibility of a route."""
    type_, newline, compatibility = route.partition("\n")
    return (type_, compatibility) if newline else (type_, "{}")


def pick(
    connection: sqlite3.Connection,
    request: ClaimRequest,
    lanes: list[Lane],
    room: dict[str, int],
    now_text: str,
) -> list[int]:
    """The ids to claim, in the order of the strategy, at most request.limit."""
    limit = request.limit
    strategy = request.strategy
    if limit <= 0:  # SQLite takes a negative LIMIT for none
        return []
    if strategy is SchedulingStrategy.WEIGHTED_RANDOM:
        chosen = _draw(connection, request, lanes, room, now_text)
    else:
        chosen = [
            (priority, task_id, lane.queue)
            for lane in lanes
            for priority, task_id in _heads(connection, lane, strategy, 1 if lane.probe else limit, now_text)
        ]
        if strategy is SchedulingStrategy.PRIORITY:
            chosen.sort()
        else:
            chosen.sort(key=lambda head: head[1], reverse=strategy is SchedulingStrategy.LIFO)
    if room:
        chosen = list(_within(chosen, room))
    return [task_id for _, task_id, _ in chosen[:limit]]


def _within(heads: list[tuple[int, int, str]], room: dict[str, int]) -> Iterator[tuple[int, int, str]]:
    left = dict(room)
    for head in heads:
        if head[2] in left:
            if left[head[2]] <= 0:
                continue
            left[head[2]] -= 1
        yield head


def _heads(
    connection: sqlite3.Connection, lane: Lane, strategy: SchedulingStrategy, limit: int, now_text: str
) -> list[Head]:
    if strategy is SchedulingStrategy.PRIORITY:
        sql = _HEAD_OF_QUEUE if lane.route is None else _HEAD_OF_ROUTE
        return connection.execute(sql, _of(lane, now_text, limit)).fetchall()
    heads: list[Head] = []
    for priority in _priorities(connection, lane):
        heads.extend(_class_heads(connection, lane, priority, limit, now_text, strategy is SchedulingStrategy.LIFO))
    return heads[:1] if lane.probe else heads


def _of(lane: Lane, now_text: str, limit: int) -> tuple[object, ...]:
    return (lane.queue, now_text, limit) if lane.route is None else (lane.queue, now_text, limit, lane.route)


def _priorities(connection: sqlite3.Connection, lane: Lane) -> list[int]:
    if lane.route is None:
        rows = connection.execute(_PRIORITIES_OF_QUEUE, (lane.queue,))
    else:
        rows = connection.execute(_PRIORITIES_OF_ROUTE, (lane.queue, lane.route))
    return [priority for (priority,) in rows.fetchall()]


def _class_heads(
    connection: sqlite3.Connection, lane: Lane, priority: int, limit: int, now_text: str, newest: bool
) -> list[Head]:
    if lane.route is None:
        sql = _NEWEST_OF_QUEUE if newest else _OLDEST_OF_QUEUE
    else:
        sql = _NEWEST_OF_ROUTE if newest else _OLDEST_OF_ROUTE
    return connection.execute(sql, (lane.queue, now_text, limit, lane.route, priority)).fetchall()


def _draw(
    connection: sqlite3.Connection, request: ClaimRequest, lanes: list[Lane], room: dict[str, int], now_text: str
) -> list[tuple[int, int, str]]:
    enough = WEIGHT_COUNT_MAX + request.limit
    found: dict[str, list[tuple[int, int, str]]] = {}
    for lane in lanes:
        for priority in _priorities(connection, lane)[: 1 if lane.probe else None]:
            found.setdefault(lane.queue, []).extend(
                (priority, task_id, lane.queue)
                for priority, task_id in _class_heads(
                    connection, lane, priority, 1 if lane.probe else enough, now_text, newest=False
                )
            )
    candidates: list[tuple[int, int, str]] = []
    for queue, heads in found.items():
        # A limited queue enters the draw with no more than it may start: what it won in vain, others would miss.
        candidates += _drawn(heads, room[queue], request.rng) if queue in room else heads
    return _drawn(candidates, request.limit, request.rng)


def _drawn(heads: list[tuple[int, int, str]], limit: int, rng: Random) -> list[tuple[int, int, str]]:
    counts = Counter(priority for priority, _, _ in heads)
    quota = draw_classes(counts, limit, rng)
    drawn = []
    for head in sorted(heads):
        if quota.get(head[0], 0) > 0:
            quota[head[0]] -= 1
            drawn.append(head)
    return drawn


def take_probes(connection: sqlite3.Connection, lanes: list[Lane], rows: list[tuple[Any, ...]], now: float) -> None:
    """Of types of which a task may be tried, those among the claimed `rows` are; the others wait for their end."""
    tried = {parts_of(lane.route)[0] for lane in lanes if lane.probe and lane.route is not None}
    for row in rows if tried else ():
        if row[3] in tried:
            connection.execute(_TAKE_PROBE, (row[3], row[0], epoch_to_text(now)))


def claim(
    connection: sqlite3.Connection, request: ClaimRequest, ids: list[int], ledger: Ledger, now: float
) -> list[tuple[Any, ...]]:
    """Claim these tasks: their rows, for `leases_of` once the transaction is over and others may write."""
    cursor = connection.cursor()
    cursor.row_factory = None  # tuples: sqlite3.Row costs as much again to unpack
    until = epoch_to_text(now + request.lease_s)
    try:
        cursor.execute(_CLAIM, (to_json(ids).decode(), request.worker_id, until, epoch_to_text(now)))
        rows = cursor.fetchall()
    finally:
        cursor.close()  # a row that cannot be read would leave the statement open, and in the way of the next commit
    alike: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        alike.setdefault(row[3:6], []).append(row[0])
    for (type_, queue, priority), taken in alike.items():
        ledger.move_all(taken, queue, type_, priority, "queued", "claimed")
    return rows


def leases_of(rows: list[tuple[Any, ...]], request: ClaimRequest, ids: list[int], now: float) -> list[Lease]:
    """The leases that `claim` won, in the order of `ids`."""
    lease_until = now + request.lease_s
    by_id: dict[int, Lease] = {}
    for (task_id, token, revision, type_, queue, priority, payload, attempt, max_attempts, run_after,
         timeout_s, backoff, retention_s, crashes, headers, schedule, key) in rows:  # fmt: skip
        by_id[task_id] = Lease(
            task_id, token, revision, type_, queue, priority, payload, attempt, max_attempts, request.worker_id,
            now, lease_until, _due(run_after, now), timeout_s, backoff, retention_s, crashes, headers, schedule, key,
        )  # fmt: skip
    return [by_id[task_id] for task_id in ids if task_id in by_id]


def _due(text: str, now: float) -> float:
    try:
        return text_to_epoch(text)
    except ValueError:  # written by hand, and not a time: it is ready now
        return now
