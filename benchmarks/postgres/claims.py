"""What one exchange costs (settle 50, claim 50) in front of a thousand and of a million rows, and after a million."""

from __future__ import annotations

import statistics
import time
from random import Random
from typing import Any

from benchmarks.claims import BATCH, PRIORITIES, READY, STATES
from benchmarks.harness import progress
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.lease import Lease, LogLine, Settlement
from prismq.domain.limits import CLAIM_BATCH_MAX, PRUNE_CHUNK
from prismq.domain.status import TaskStatus
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import NewTask
from prismq.storage.contract import Batch, ClaimRequest, Retention
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from prismq.worker.sweeper import Sweeper

# A revision of 1: no trigger, for no books are looked at here.
_ROWS = """
INSERT INTO task_queue (type, payload, priority, status, run_after_utc, finished_at_utc, revision)
SELECT %(type)s, jsonb_build_object('n', i), (i %% 3 + 1) * 50, %(status)s,
       CASE WHEN %(status)s = 'scheduled' THEN timestamptz '2099-01-01' ELSE '2024-01-01' END,
       CASE WHEN %(status)s = 'completed' THEN timestamptz '2024-01-01 00:00:01' END, 1
  FROM generate_series(1, %(n)s) AS i"""
_SIZES = """
SELECT c.relname, pg_relation_size(c.oid)
  FROM pg_class AS c
 WHERE c.oid = 'task_queue'::regclass
    OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'task_queue'::regclass)
 ORDER BY c.relname"""


class Scene:
    """A database with so many rows in one state, and a thousand that can be claimed."""

    def __init__(self, url: str, state: str, rows: int) -> None:
        # The wait for the disk at each commit would hide what is to be seen.
        self.store = PostgresStore(PostgresDatabase(f"{url}?options=-c%20synchronous_commit%3Doff"))
        self.store.initialise()
        with self.store.database.alone() as connection:

            def add(n: int, type_: str = "noop", status: str = "queued") -> None:
                if n:
                    connection.execute(_ROWS, {"n": n, "type": type_, "status": status})

            connection.execute("SET statement_timeout = 0")
            if state == "at the head that it cannot serve":
                add(rows // 2, "foreign")
                add(READY)
                connection.execute(
                    "UPDATE task_queue SET priority = priority - 50, revision = revision + 1 WHERE type = 'foreign'"
                )
                add(rows - rows // 2, "foreign")
            elif state == "finished":
                add(rows, status="completed")
                add(READY)
            elif state == "scheduled for later":
                add(rows, status="scheduled")
                add(READY)
            else:
                add(rows)
            connection.execute("VACUUM ANALYZE task_queue")
        self._rng = Random(1)
        self._held: list[Lease] = []

    def exchange(self, strategy: SchedulingStrategy) -> float:
        """Settle what is held and claim as much again; seconds. What was taken is then put back in."""
        now = time.time()
        request = ClaimRequest("bench", BATCH, 60.0, strategy, None, lambda type_, _: type_ == "noop", self._rng)
        batch = _ends(self._held, now)
        begin = time.perf_counter()
        answer = self.store.work.exchange(batch, request, now)
        took = time.perf_counter() - begin
        if len(answer.leases) != BATCH or answer.lost:
            raise RuntimeError(f"{len(answer.leases)} of {BATCH} were claimed, {len(answer.lost)} leases were lost")
        self._held = answer.leases
        self.store.inbox.enqueue_many(
            [NewTask("noop", '{"n":1}', priority=PRIORITIES[i % 3]) for i in range(BATCH)], now
        )
        return took


def _ends(held: list[Lease], now: float) -> Batch:
    return Batch(
        [Settlement(lease, TaskStatus.CLAIMED, TaskStatus.COMPLETED, now, now) for lease in held],
        [LogLine(lease.task_id, now, "DEBUG", "queued → claimed → processing → completed") for lease in held],
    )


def measure(
    urls: list[str], many: int, few: int, rounds: int, exchanges: int
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """For each strategy and state: the median cost in front of `few`, of `many`, and their ratio."""
    scenes = {}
    for number, state in enumerate(STATES):
        progress(f"building {many:,} {state}")
        scenes[state] = (Scene(urls[2 * number], state, few), Scene(urls[2 * number + 1], state, many))
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for strategy in SchedulingStrategy:
        progress(f"claiming by {strategy}")
        took: dict[tuple[str, int], list[float]] = {}
        for number in range(rounds + 1):
            for state in STATES:
                for _ in range(exchanges):
                    # In turn, exchange by exchange: whatever disturbs one disturbs the other.
                    for size, scene in enumerate(scenes[state]):
                        seconds = scene.exchange(strategy)
                        if number:  # the first round only warms up
                            took.setdefault((state, size), []).append(seconds)
        found[strategy.value] = {}
        for state in STATES:
            small, large = (statistics.median(took[state, size]) for size in (0, 1))
            found[strategy.value][state] = (small, large, large / small)
    for pair in scenes.values():
        for scene in pair:
            scene.store.close()
    return found


def churn(fresh: str, used: str, tasks: int, rounds: int, exchanges: int) -> dict[str, Any]:
    """Put `tasks` tasks through a queue that holds few at a time, and compare it with a fresh one of as many."""
    scenes = (Scene(fresh, "queued", READY), Scene(used, "queued", READY))
    before = _sizes(scenes[1])
    progress(f"{tasks:,} tasks, enqueued, worked off and deleted")
    begin = time.monotonic()
    _work_through(scenes[1].store, tasks)
    took_s = time.monotonic() - begin
    progress("claiming in a fresh and in the used one")
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds * exchanges + exchanges):
        for scene, seen in zip(scenes, took, strict=True):
            seconds = scene.exchange(SchedulingStrategy.PRIORITY)
            if number >= exchanges:
                seen.append(seconds)
    small, large = map(statistics.median, took)
    answer = {"before": before, "after": _sizes(scenes[1]), "took_s": took_s, "claims": (small, large, large / small)}
    for scene in scenes:
        scene.store.close()
    return answer


def _work_through(store: PostgresStore, tasks: int) -> None:
    held: list[Lease] = []
    rng = Random(1)
    sweeper = Sweeper(store.upkeep, SYSTEM_CLOCK, lambda _: None)
    look_at = 0.0
    at_once = Retention(0.0, 0.0, 0.0, 3600.0)
    for number in range(0, tasks, CLAIM_BATCH_MAX):
        now = time.time()
        news = [NewTask("noop", f'{{"n":{number + i}}}', priority=PRIORITIES[i % 3]) for i in range(CLAIM_BATCH_MAX)]
        store.inbox.enqueue_many(news, now)
        request = ClaimRequest(
            "bench", CLAIM_BATCH_MAX, 60.0, SchedulingStrategy.PRIORITY, None, lambda _, __: True, rng
        )
        held = store.work.exchange(_ends(held, now), request, now).leases
        while store.upkeep.prune(at_once, now + 1.0) >= PRUNE_CHUNK:
            continue
        if number % 50_000 == 0:
            store.upkeep.book(now)
        if time.monotonic() >= look_at:  # as a supervisor's housekeeping does
            look_at = time.monotonic() + sweeper.step()
    store.work.exchange(_ends(held, time.time()), None, time.time())


def _sizes(scene: Scene) -> dict[str, int]:
    with scene.store.database.reading() as connection:
        return dict(connection.execute(_SIZES).fetchall())
