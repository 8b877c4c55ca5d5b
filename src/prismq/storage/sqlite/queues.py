"""Queues: pause, resume, limit."""

from __future__ import annotations

from collections import defaultdict

from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract import Depth, QueueInfo
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.insight import SqliteInsight
from prismq.storage.sqlite.queries import query

_PRIORITIES_OF_QUEUE = query("ready_priorities_of_queue")


class SqliteQueueAdmin:
    """The QueueAdmin protocol on SQLite."""

    def __init__(self, database: QueueDatabase, insight: SqliteInsight) -> None:
        self._database = database
        self._insight = insight

    def pause(self, queue: str, by: str, now: float) -> None:
        """See QueueAdmin.pause."""
        self._database.execute(
            "INSERT INTO queues (queue, paused_at_utc, paused_by) VALUES (?, ?, ?)"
            " ON CONFLICT (queue) DO UPDATE SET paused_at_utc = coalesce(paused_at_utc, excluded.paused_at_utc),"
            " paused_by = coalesce(paused_by, excluded.paused_by)",
            (queue, epoch_to_text(now), by),
        )

    def resume(self, queue: str) -> bool:
        """See QueueAdmin.resume."""
        cursor = self._database.execute(
            "UPDATE queues SET paused_at_utc = NULL, paused_by = NULL WHERE queue = ? AND paused_at_utc IS NOT NULL",
            (queue,),
        )
        return cursor.rowcount > 0

    def limit(self, queue: str, max_running: int | None) -> None:
        """See QueueAdmin.limit."""
        self._database.execute(
            "INSERT INTO queues (queue, max_running) VALUES (?, ?)"
            " ON CONFLICT (queue) DO UPDATE SET max_running = excluded.max_running",
            (queue, max_running),
        )

    def all(self, now: float) -> list[QueueInfo]:
        """See QueueAdmin.all."""
        return self.among(self._insight.depth(), now)

    def among(self, depth: Depth, now: float) -> list[QueueInfo]:
        """The same, with the depth that it is to show."""
        by_queue: defaultdict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for (queue, _, status, _), tasks in depth.items():
            if tasks:
                by_queue[queue][status] += tasks
        settings = {
            row["queue"]: row
            for row in self._database.execute(
                "SELECT * FROM queues WHERE paused_at_utc IS NOT NULL OR max_running IS NOT NULL"
            ).fetchall()
        }
        found = []
        for queue in sorted(set(by_queue) | set(settings)):
            row = settings.get(queue)
            paused = row["paused_at_utc"] if row else None
            found.append(
                QueueInfo(
                    queue,
                    text_to_epoch(paused) if paused else None,
                    row["paused_by"] if row else None,
                    row["max_running"] if row else None,
                    dict(by_queue[queue]),
                    self._insight.oldest_ready_s(now, queue),
                )
            )
        return found
