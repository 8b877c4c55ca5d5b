"""Queues: pause, resume, limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from prismq.storage.contract import Depth, QueueInfo
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.insight import PostgresInsight
from prismq.storage.postgres.planning import planned_by_index
from prismq.storage.postgres.queries import query

_PAUSE = query("pause_queue")
_LIMIT = query("limit_queue")
_SETTINGS = (
    "SELECT queue, paused_at_utc, paused_by, max_running FROM queues"
    " WHERE paused_at_utc IS NOT NULL OR max_running IS NOT NULL"
)


class PostgresQueueAdmin:
    """The QueueAdmin protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase, insight: PostgresInsight) -> None:
        self._database = database
        self._insight = insight

    def pause(self, queue: str, by: str, now: float) -> None:
        """See QueueAdmin.pause."""
        with self._database.transaction() as connection:
            connection.execute(_PAUSE, (queue, self._database.at(now), by))

    def resume(self, queue: str) -> bool:
        """See QueueAdmin.resume."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE queues SET paused_at_utc = NULL, paused_by = NULL"
                " WHERE queue = %s AND paused_at_utc IS NOT NULL",
                (queue,),
            )
        return cursor.rowcount > 0

    def limit(self, queue: str, max_running: int | None) -> None:
        """See QueueAdmin.limit."""
        with self._database.transaction() as connection:
            connection.execute(_LIMIT, (queue, max_running))

    def all(self, now: float) -> list[QueueInfo]:
        """See QueueAdmin.all."""
        self._insight.spare_readers()
        with planned_by_index(self._database) as connection:
            depth, queues = self._insight.ask_depth(connection), self.ask_all(connection, now)
            return queues(depth())

    def ask_all(self, connection: Connection, now: float) -> Callable[[Depth], list[QueueInfo]]:
        """Sent; what it returns waits for the answer. It wants to know the depth then."""
        of_settings, of_ages = connection.execute(_SETTINGS), self._insight.ask_oldest_ready(connection, now)

        def answer(depth: Depth) -> list[QueueInfo]:
            by_queue: defaultdict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
            for (queue, _, status, _), tasks in depth.items():
                by_queue[queue][status] += tasks
            settings = {queue: rest for queue, *rest in of_settings.fetchall()}
            ages = of_ages()
            found = []
            for queue in sorted(set(by_queue) | set(settings)):
                paused_at, paused_by, max_running = settings.get(queue, (None, None, None))
                found.append(
                    QueueInfo(
                        queue,
                        None if paused_at is None else self._database.back(paused_at),
                        paused_by,
                        max_running,
                        dict(by_queue[queue]),
                        ages.get(queue),
                    )
                )
            return found

        return answer
