"""What a claim costs does not depend on what lies in the queue. Counted in SQLite's own steps, not in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from prismq.domain.strategy import SchedulingStrategy
from prismq.storage.contract import Batch
from tests.helpers.builders import KEEP_ALL, a_request, only
from tests.helpers.clock import FakeClock
from tests.helpers.engines import SqliteEngine, sqlite_engine

FEW, MANY = 1_000, 200_000
RATIO, CONSTANT = 1.3, 60

_ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) INSERT INTO task_queue "
_CLAIMABLE = (
    _ROWS + "(type, payload, priority, queue) SELECT 'job', '{{}}', 100 + i % 3, 'q' || (i % 2) FROM n"
).replace("{count}", str(FEW))
# What lies in the queue beside a thousand tasks that can be claimed; it came before them.
BACKLOGS = {
    "queued": "(type, payload, priority, queue) SELECT 'job', '{{}}', 100 + i % 3, 'q' || (i % 2) FROM n",
    "finished": "(type, payload, status, finished_at_utc) SELECT 'job', '{{}}', CASE i % 9 WHEN 0 THEN 'failed'"
    " WHEN 1 THEN 'cancelled' ELSE 'completed' END, '2026-01-01 00:00:00' FROM n",
    "scheduled": "(type, payload, status, run_after_utc)"
    " SELECT 'job', '{{}}', 'scheduled', '2099-01-01 00:00:00' FROM n",
    "unservable at the head": "(type, payload, priority, queue) SELECT 'unknown', '{{}}', 1, 'q' || (i % 2) FROM n",
    "unservable by what they ask for": "(type, payload, compatibility, queue)"
    " SELECT 'job', '{{}}', '{{\"gpu\":true}}', 'q' || (i % 2) FROM n",
}


def can_serve(type_: str, compatibility: str) -> bool:
    return type_ == "job" and compatibility == "{}"


def steps_of(engine: SqliteEngine, act: Callable[[], object]) -> int:
    connection = engine.store.database.get_connection()
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    act()
    connection.set_progress_handler(None, 1)
    return steps


def filled(folder: Path, kind: str, count: int, clock: FakeClock) -> Iterator[SqliteEngine]:
    with sqlite_engine(folder) as engine:
        engine.hand("PRAGMA synchronous = OFF")
        engine.hand(_ROWS.format(count=count) + BACKLOGS[kind].format())
        engine.hand(_CLAIMABLE.format())
        while engine.store.upkeep.book(clock.now()):
            pass
        yield engine


@pytest.fixture(scope="module", params=list(BACKLOGS))
def few_and_many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SqliteEngine, SqliteEngine]]:
    folder, clock = tmp_path_factory.mktemp("cost"), FakeClock()
    (folder / "few").mkdir()
    (folder / "many").mkdir()
    for few in filled(folder / "few", request.param, FEW, clock):
        for many in filled(folder / "many", request.param, MANY, clock):
            yield few, many


@pytest.mark.parametrize("limit", [1, 50])
@pytest.mark.parametrize("strategy", list(SchedulingStrategy), ids=str)
def test_a_claim_costs_the_same_whatever_lies_in_the_queue(
    few_and_many: tuple[SqliteEngine, SqliteEngine], clock: FakeClock, strategy: SchedulingStrategy, limit: int
) -> None:
    costs = []
    for engine in few_and_many:
        request = a_request(limit=limit, strategy=strategy, can_serve=can_serve, rng=Random(1))

        def claim(engine: SqliteEngine = engine, request=request) -> None:
            assert len(engine.store.work.exchange(Batch(), request, clock.now()).leases) == limit

        costs.append(steps_of(engine, claim))
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs


def test_an_idle_workers_look_costs_the_same_whatever_lies_in_the_queue(
    few_and_many: tuple[SqliteEngine, SqliteEngine], clock: FakeClock
) -> None:
    costs = []
    for engine in few_and_many:
        request = a_request(can_serve=only("nothing"))
        costs.append(steps_of(engine, lambda e=engine, r=request: e.store.work.exchange(Batch(), r, clock.now())))
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs


@pytest.mark.parametrize(
    "figure",
    [
        "depth",
        "oldest_ready_s",
        "oldest_queued_s",
        "outcomes",
        "in_hand",
        "newest logs",
        "expire_leases",
        "take_back",
        "renew",
        "next_due",
        "prune",
    ],
)
def test_figures_and_upkeep_cost_the_same_whatever_lies_in_the_queue(
    few_and_many: tuple[SqliteEngine, SqliteEngine], clock: FakeClock, figure: str
) -> None:
    now = clock.now()
    costs = []
    for engine in few_and_many:
        store = engine.store
        act = {
            "depth": lambda s=store: s.insight.depth(),
            "oldest_ready_s": lambda s=store: s.insight.oldest_ready_s(now),
            "oldest_queued_s": lambda s=store: s.insight.oldest_queued_s(now),
            "outcomes": lambda s=store: s.insight.outcomes(now - 3600, now),
            "in_hand": lambda s=store: s.workers.in_hand(),
            "newest logs": lambda s=store: [s.logs.newest(level=level) for level in (None, "DEBUG", "ERROR")],
            "take_back": lambda s=store: s.upkeep.take_back(["nobody"], now, reason=""),
            "expire_leases": lambda s=store: s.upkeep.expire_leases(now),
            "renew": lambda s=store: s.work.renew(["w1"], 30, now),
            "next_due": lambda s=store: s.work.next_due(),
            "prune": lambda s=store: s.upkeep.prune(KEEP_ALL, now),
        }[figure]
        costs.append(steps_of(engine, act))
    assert costs[1] <= RATIO * costs[0] + CONSTANT, costs


def test_a_claim_still_costs_the_same_with_statistics_of_an_emptier_day(tmp_path: Path, clock: FakeClock) -> None:
    """ANALYZE while the queue is short, then a flood: SQLite must not plan by what was."""
    with sqlite_engine(tmp_path) as engine:
        engine.hand("PRAGMA synchronous = OFF")
        engine.hand(_ROWS.format(count=FEW) + BACKLOGS["finished"].format())
        engine.hand("INSERT INTO task_queue (type, payload) VALUES ('job', '{}'), ('job', '{}')")
        engine.hand("ANALYZE")
        costs = []
        for count in (FEW, 20 * FEW):
            engine.hand(_ROWS.format(count=count) + BACKLOGS["queued"].format())
            engine.store.close()  # a new connection reads the statistics
            while engine.store.upkeep.book(clock.now()):
                pass
            request = a_request(limit=10, can_serve=can_serve)
            costs.append(steps_of(engine, lambda r=request: engine.store.work.exchange(Batch(), r, clock.now())))
        assert costs[1] <= RATIO * costs[0] + CONSTANT, costs
