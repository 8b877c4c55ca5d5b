"""What one exchange costs (settle 50, claim 50) in front of a thousand and of a million rows, and after a million."""

from __future__ import annotations

import statistics
import time
from random import Random
from typing import Any

from benchmarks.claims import BATCH, PRIORITIES, READY, STATES, Found, compared, ends, pair
from benchmarks.harness import progress
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.lease import Lease
from prismq.domain.limits import CLAIM_BATCH_MAX, PRUNE_CHUNK
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import NewTask
from prismq.storage.contract import ClaimRequest, Retention
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
        batch = ends(self._held, now)
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


def measure(urls: list[str], many: int, few: int, rounds: int, exchanges: int) -> Found:
    """For each strategy and state: the median cost in front of `few`, of `many`, and their ratio."""
    left = iter(urls)

    def scene(state: str, rows: int) -> Scene:
        return Scene(next(left), state, rows)

    return compared({state: pair(scene, state, few, many) for state in STATES}, rounds, exchanges)


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
        held = store.work.exchange(ends(held, now), request, now).leases
        while store.upkeep.prune(at_once, now + 1.0) >= PRUNE_CHUNK:
            continue
        if number % 50_000 == 0:
            store.upkeep.book(now)
        if time.monotonic() >= look_at:  # as a supervisor's housekeeping does
            look_at = time.monotonic() + sweeper.step()
    store.work.exchange(ends(held, time.time()), None, time.time())


def _sizes(scene: Scene) -> dict[str, int]:
    with scene.store.database.reading() as connection:
        return dict(connection.execute(_SIZES).fetchall())
