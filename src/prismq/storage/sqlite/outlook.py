"""What lies before a worker, or before a task: found as a claim finds it, without claiming."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import ClaimRequest, ReadyRoute
from prismq.storage.sqlite.claims import Lane, parts_of
from prismq.storage.sqlite.queries import query

_READY_QUEUES = query("ready_queues")
_READY_ROUTES = query("ready_routes")
_PRIORITIES_OF_QUEUE = query("ready_priorities_of_queue")
_PRIORITIES_OF_ROUTE = query("ready_priorities_of_route")
_FIRST_OF_ROUTE = query("first_of_route")
_AHEAD_IN_QUEUE = query("ahead_in_queue")
_AHEAD_IN_ROUTE = query("ahead_in_route")

_SHUT_TYPES = "SELECT type FROM breakers WHERE state <> 'closed'"
_LAST_ID = 2**63 - 1


def ready_routes(connection: sqlite3.Connection, now: float) -> list[ReadyRoute]:
    """See Insight.ready_routes."""
    found = []
    shut = {type_ for (type_,) in connection.execute(_SHUT_TYPES).fetchall()}
    for queue in _queues(connection):
        for route in _routes(connection, queue):
            if parts_of(route)[0] in shut:
                continue
            head = connection.execute(_FIRST_OF_ROUTE, (queue, route, epoch_to_text(now))).fetchone()
            if head is not None:
                found.append(ReadyRoute(queue, *parts_of(route), head[0], _since(head[1], now)))
    return found


def ahead(connection: sqlite3.Connection, task_id: int, claim: ClaimRequest, at_most: int) -> int:
    """See Insight.ahead."""
    row = connection.execute(
        "SELECT priority FROM task_queue WHERE id = ? AND status = 'queued'", (task_id,)
    ).fetchone()
    if row is None:
        return 0
    count: int = 0
    for lane in _lanes(connection, claim):
        for priority in _priorities(connection, lane):
            if claim.strategy is SchedulingStrategy.PRIORITY and priority > row[0]:
                break
            for above, below in _before(claim.strategy, priority, row[0], task_id):
                sql = _AHEAD_IN_QUEUE if lane.route is None else _AHEAD_IN_ROUTE
                values = (lane.queue, priority, above, below, at_most - count)
                params = values if lane.route is None else (*values, lane.route)
                count += int(connection.execute(sql, params).fetchone()[0])
                if count >= at_most:
                    return count
    return count


def _before(strategy: SchedulingStrategy, priority: int, own: int, task_id: int) -> list[tuple[int, int]]:
    """The ids (both ends left out) of a class that come before the task."""
    everything = (-_LAST_ID, _LAST_ID)
    if strategy is SchedulingStrategy.FIFO or (strategy is SchedulingStrategy.PRIORITY and priority == own):
        return [(-_LAST_ID, task_id)]
    if strategy is SchedulingStrategy.LIFO:
        return [(task_id, _LAST_ID)]
    if strategy is SchedulingStrategy.WEIGHTED_RANDOM and priority == own:
        return [(-_LAST_ID, task_id), (task_id, _LAST_ID)]
    return [everything]


def _lanes(connection: sqlite3.Connection, claim: ClaimRequest) -> Iterator[Lane]:
    paused = {name for (name,) in connection.execute("SELECT queue FROM queues WHERE paused_at_utc IS NOT NULL")}
    for queue in _queues(connection):
        if queue in paused or (claim.queues is not None and queue not in claim.queues):
            continue
        routes = _routes(connection, queue)
        fitting = [route for route in routes if claim.can_serve(*parts_of(route))]
        if len(fitting) == len(routes):
            yield Lane(queue, None)
        else:
            yield from (Lane(queue, route) for route in fitting)


def _queues(connection: sqlite3.Connection) -> list[str]:
    return [queue for (queue,) in connection.execute(_READY_QUEUES).fetchall()]


def _routes(connection: sqlite3.Connection, queue: str) -> list[str]:
    # A type written by hand may be a blob: nobody serves that.
    return [route for (route,) in connection.execute(_READY_ROUTES, (queue,)).fetchall() if isinstance(route, str)]


def _priorities(connection: sqlite3.Connection, lane: Lane) -> list[int]:
    if lane.route is None:
        rows = connection.execute(_PRIORITIES_OF_QUEUE, (lane.queue,))
    else:
        rows = connection.execute(_PRIORITIES_OF_ROUTE, (lane.queue, lane.route))
    return [priority for (priority,) in rows.fetchall()]


def _since(text: str, now: float) -> float:
    try:
        return text_to_epoch(text)
    except ValueError:  # written by hand, and not a time: it is ready now
        return now
