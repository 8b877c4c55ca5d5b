"""What lies before a worker, or before a task: found as a claim finds it, without claiming."""

from __future__ import annotations

from collections.abc import Callable

from prismq.domain.strategy import SchedulingStrategy
from prismq.storage.contract import ClaimRequest, ReadyRoute
from prismq.storage.postgres.claims import parts_of
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.planning import planned_by_index
from prismq.storage.postgres.queries import query

_READY_ROUTES = query("ready_routes")
_READY_PRIORITIES = query("ready_priorities")
_FIRST_OF_ROUTES = query("first_of_routes")
_AHEAD = query("ahead")

_SHUT_TYPES = "SELECT type FROM breakers WHERE state <> 'closed'"
_LAST_ID = 2**63 - 1

_Lane = tuple[str, "str | None"]  # queue, route; without a route the whole queue


def ask_ready_routes(database: PostgresDatabase, connection: Connection, now: float) -> Callable[[], list[ReadyRoute]]:
    """See Insight.ready_routes. Sent; what it returns waits for the answer, and asks once more."""
    of_breakers, of_routes = connection.execute(_SHUT_TYPES), connection.execute(_READY_ROUTES)

    def answer() -> list[ReadyRoute]:
        shut = {type_ for (type_,) in of_breakers.fetchall()}
        lanes = [(queue, route) for queue, route in of_routes.fetchall() if parts_of(route)[0] not in shut]
        found = {
            "queues": [queue for queue, _ in lanes],
            "routes": [route for _, route in lanes],
            "now": database.at(now),
        }
        return [
            ReadyRoute(queue, *parts_of(route), task_id, database.back(since))
            for queue, route, task_id, since in sorted(connection.execute(_FIRST_OF_ROUTES, found).fetchall())
        ]

    return answer


def ahead(database: PostgresDatabase, task_id: int, claim: ClaimRequest, at_most: int) -> int:
    """See Insight.ahead."""
    with planned_by_index(database) as connection:
        row = connection.execute(
            "SELECT priority FROM task_queue WHERE id = %s AND status = 'queued'", (task_id,)
        ).fetchone()
        if row is None:
            return 0
        own = row[0]
        lanes = _lanes(connection, claim)
        given = [queue for queue, _ in lanes], [route for _, route in lanes]
        classes = [
            (*lanes[number - 1], priority, above, below)
            for number, priority in connection.execute(_READY_PRIORITIES, given).fetchall()
            for above, below in _before(claim.strategy, priority, own, task_id)
        ]
        if not classes:
            return 0
        names = ("queues", "routes", "priorities", "above", "below")
        columns = dict(zip(names, (list(column) for column in zip(*classes, strict=True)), strict=True))
        counted = connection.execute(_AHEAD, {**columns, "at_most": at_most}).fetchone()
    return int(counted[0]) if counted else 0


def _before(strategy: SchedulingStrategy, priority: int, own: int, task_id: int) -> list[tuple[int, int]]:
    """The ids (both ends left out) of a class that come before the task."""
    if strategy is SchedulingStrategy.PRIORITY and priority > own:
        return []
    if strategy is SchedulingStrategy.FIFO or (strategy is SchedulingStrategy.PRIORITY and priority == own):
        return [(-_LAST_ID, task_id)]
    if strategy is SchedulingStrategy.LIFO:
        return [(task_id, _LAST_ID)]
    if strategy is SchedulingStrategy.WEIGHTED_RANDOM and priority == own:
        return [(-_LAST_ID, task_id), (task_id, _LAST_ID)]
    return [(-_LAST_ID, _LAST_ID)]


def _lanes(connection: Connection, claim: ClaimRequest) -> list[_Lane]:
    rows = connection.execute("SELECT queue FROM queues WHERE paused_at_utc IS NOT NULL").fetchall()
    paused = {queue for (queue,) in rows}
    routes: dict[str, list[str]] = {}
    for queue, route in connection.execute(_READY_ROUTES).fetchall():
        if queue not in paused and (claim.queues is None or queue in claim.queues):
            routes.setdefault(queue, []).append(route)
    lanes: list[_Lane] = []
    for queue, of_queue in routes.items():
        fitting = [route for route in of_queue if claim.can_serve(*parts_of(route))]
        lanes += [(queue, None)] if len(fitting) == len(of_queue) else [(queue, route) for route in fitting]
    return lanes
