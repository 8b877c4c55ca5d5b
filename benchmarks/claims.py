"""What one exchange costs (settle 50, claim 50) in front of a thousand and of a million rows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Protocol

from benchmarks.harness import progress
from prismq.domain.lease import Lease, LogLine, Settlement
from prismq.domain.status import TaskStatus
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import NewTask
from prismq.storage.contract import Batch, ClaimRequest
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.store import SqliteStore

BATCH = 50
READY = 1_000
PRIORITIES = (50, 100, 150)

_NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n)"
_ROWS = f"""{_NUMBERS}
INSERT INTO task_queue (type, payload, priority, status, run_after_utc, finished_at_utc)
SELECT :type, '{{"n":' || i || '}}', (i % 3 + 1) * 50, :status,
       CASE WHEN :status = 'scheduled' THEN '2099-01-01 00:00:00.000' ELSE '2024-01-01 00:00:00.000' END,
       CASE WHEN :status = 'completed' THEN '2024-01-01 00:00:01.000' END
  FROM numbers"""

STATES = ("queued", "finished", "scheduled for later", "at the head that it cannot serve")


class Scene:
    """A database with so many rows in one state, and a thousand that can be claimed."""

    def __init__(self, folder: Path, state: str, rows: int) -> None:
        self.store = SqliteStore(QueueDatabase(folder / f"{STATES.index(state)}-{rows}.db"))
        self.store.initialise()
        connection = self.store.database.get_connection()

        def add(n: int, type_: str = "noop", status: str = "queued") -> None:
            if n:
                with self.store.database.transaction():
                    connection.execute(_ROWS, {"n": n, "type": type_, "status": status})

        if state == "at the head that it cannot serve":
            add(rows // 2, "foreign")
            add(READY)
            connection.execute("UPDATE task_queue SET priority = priority - 50 WHERE type = 'foreign'")
            add(rows - rows // 2, "foreign")
        elif state == "finished":
            add(rows, status="completed")
            add(READY)
        elif state == "scheduled for later":
            add(rows, status="scheduled")
            add(READY)
        else:
            add(rows)
        while self.store.upkeep.book(time.time()):
            continue
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._rng = Random(1)
        self._held: list[Lease] = []

    def exchange(self, strategy: SchedulingStrategy) -> float:
        """Settle what is held and claim as much again; seconds. What was taken is then put back in."""
        now = time.time()
        batch = ends(self._held, now)
        request = ClaimRequest("bench", BATCH, 60.0, strategy, None, lambda type_, _: type_ == "noop", self._rng)
        begin = time.perf_counter()
        answer = self.store.work.exchange(batch, request, now)
        took = time.perf_counter() - begin
        assert len(answer.leases) == BATCH
        assert not answer.lost
        self._held = answer.leases
        news = [NewTask("noop", '{"n":1}', priority=PRIORITIES[i % 3]) for i in range(BATCH)]
        self.store.inbox.enqueue_many(news, now)
        return took


def ends(held: list[Lease], now: float) -> Batch:
    """What it takes to complete these, with a log line each."""
    return Batch(
        [Settlement(lease, TaskStatus.CLAIMED, TaskStatus.COMPLETED, now, now) for lease in held],
        [LogLine(lease.task_id, now, "DEBUG", "queued → claimed → processing → completed") for lease in held],
    )


Found = dict[str, dict[str, list[float]]]


def measure(folder: str, many: int, few: int, rounds: int, exchanges: int) -> Found:
    """For each strategy and state: the median cost in front of `few`, of `many`, and their ratio."""

    def scene(state: str, rows: int) -> Scene:
        return Scene(Path(folder), state, rows)

    return compared({state: pair(scene, state, few, many) for state in STATES}, rounds, exchanges)


class Exchanging(Protocol):
    """A scene of either engine."""

    store: Any

    def exchange(self, strategy: SchedulingStrategy) -> float:
        """See Scene.exchange."""
        ...


Pair = tuple[Exchanging, Exchanging]


def pair(scene: Callable[[str, int], Exchanging], state: str, few: int, many: int) -> Pair:
    """Two scenes in one state, of few rows and of many."""
    progress(f"building {many:,} {state}")
    return scene(state, few), scene(state, many)


def compared(scenes: Mapping[str, Pair], rounds: int, exchanges: int) -> Found:
    """For each strategy and state: the median cost in the first of each pair, in the second, and their ratio."""
    found: Found = {}
    for strategy in SchedulingStrategy:
        progress(f"claiming by {strategy}")
        took: dict[tuple[str, int], list[float]] = {}
        for number in range(rounds + 1):
            for state, both in scenes.items():
                for _ in range(exchanges):
                    # In turn, exchange by exchange: whatever disturbs one disturbs the other.
                    for size, scene in enumerate(both):
                        seconds = scene.exchange(strategy)
                        if number:  # the first round only warms up
                            took.setdefault((state, size), []).append(seconds)
        found[strategy.value] = {}
        for state in scenes:
            small, large = (statistics.median(took[state, size]) for size in (0, 1))
            found[strategy.value][state] = [small, large, large / small]
    for both in scenes.values():
        for scene in both:
            scene.store.close()
    return found
