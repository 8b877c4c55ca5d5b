"""What a claim costs does not depend on what lies in the queue, on PostgreSQL neither. Counted in pages, not time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Batch
from tests.helpers.builders import KEEP_ALL, a_request, only
from tests.helpers.clock import FakeClock
from tests.helpers.engines import PostgresEngine

FEW, MANY = 1_000, 200_000
# An index of many has a level or two more than one of few: a page more for each look-up.
RATIO, CONSTANT = 1.5, 60


# The revision of our own inserts: no trigger, as after COPY.
def rows(columns: str, values: str, type_: str = "job") -> str:
    return (
        f"INSERT INTO task_queue (type, payload, revision, {columns}) SELECT '{type_}', '{{}}', 1, {values}"
        " FROM generate_series(1, COUNT) AS i"
    )


CLAIMABLE = rows("priority, queue", "100 + i % 3, 'q' || (i % 2)")
# What lies in the queue beside a thousand tasks that can be claimed; it came before them.
BACKLOGS = {
    "queued": CLAIMABLE,
    "finished": rows(
        "status, finished_at_utc",
        "CASE i % 9 WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' ELSE 'completed' END, now()",
    ),
    "scheduled": rows("status, run_after_utc", "'scheduled', '2099-01-01'"),
    "unservable at the head": rows("priority, queue", "1, 'q' || (i % 2)", "unknown"),
    "unservable by what they ask for": rows("compatibility, queue", "'{\"gpu\": true}', 'q' || (i % 2)"),
}
# The planner's statistics: none, or those of a day when all that there was could be claimed.
STATISTICS = ["none", "of an emptier day"]


def can_serve(type_: str, compatibility: str) -> bool:
    return type_ == "job" and compatibility == "{}"


_PAGES = (
    "SELECT sum(pg_stat_get_blocks_fetched(c.oid))::bigint FROM pg_class AS c"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'public'"
)
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def pages_of(engine: PostgresEngine, act: Callable[[], object]) -> int:
    """How many pages of the queue's tables and indexes `act` asks for. A session tells for certain when it ends."""
    settle(engine)
    [(before,)] = engine.look(_PAGES)
    act()
    settle(engine)
    [(after,)] = engine.look(_PAGES)
    return int(after - before)


def settle(engine: PostgresEngine) -> None:
    engine.store.close()
    deadline = SYSTEM_CLOCK.monotonic() + 30
    while engine.look(_OTHERS) != [(0,)]:
        assert SYSTEM_CLOCK.monotonic() < deadline, "a session did not end"


def filled(kind: str, count: int, statistics: str) -> PostgresEngine:
    engine = PostgresEngine()
    # A session of its own, whose pages are not counted when it tells of them late.
    with engine.callers_connection() as hand:
        if statistics != "none":
            hand.execute(CLAIMABLE.replace("COUNT", str(FEW)))
            hand.execute("ANALYZE")
        hand.execute(BACKLOGS[kind].replace("COUNT", str(count)))
        hand.execute(CLAIMABLE.replace("COUNT", str(FEW)))
    return engine


@pytest.fixture(scope="module", params=[(kind, statistics) for statistics in STATISTICS for kind in BACKLOGS], ids=str)
def few_and_many(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresEngine, PostgresEngine]]:
    kind, statistics = request.param
    engines = filled(kind, FEW, statistics), filled(kind, MANY, statistics)
    yield engines
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("limit", [1, 50])
@pytest.mark.parametrize("strategy", list(SchedulingStrategy), ids=str)
def test_a_claim_costs_the_same_whatever_lies_in_the_queue(
    few_and_many: tuple[PostgresEngine, PostgresEngine], clock: FakeClock, strategy: SchedulingStrategy, limit: int
) -> None:
    costs = []
    for engine in few_and_many:
        request = a_request(limit=limit, strategy=strategy, can_serve=can_serve, rng=Random(1))

        def claim(engine: PostgresEngine = engine, request=request) -> None:
            assert len(engine.store.work.exchange(Batch(), request, clock.now()).leases) == limit

        costs.append(pages_of(engine, claim))
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs


def test_an_idle_workers_look_costs_the_same_whatever_lies_in_the_queue(
    few_and_many: tuple[PostgresEngine, PostgresEngine], clock: FakeClock
) -> None:
    costs = []
    for engine in few_and_many:
        request = a_request(can_serve=only("nothing"))
        costs.append(pages_of(engine, lambda e=engine, r=request: e.store.work.exchange(Batch(), r, clock.now())))
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs


@pytest.mark.parametrize(
    "figure",
    [
        "depth", "oldest_ready_s", "oldest_queued_s", "ready_routes", "outcomes", "in_hand", "newest logs",
        "expire_leases", "take_back", "renew", "next_due", "prune", "held tasks",
    ],
)  # fmt: skip
def test_figures_and_upkeep_cost_the_same_whatever_lies_in_the_queue(
    few_and_many: tuple[PostgresEngine, PostgresEngine], clock: FakeClock, figure: str
) -> None:
    now = clock.now()
    costs = []
    for engine in few_and_many:
        store = engine.store
        act = {
            "depth": lambda s=store: s.insight.depth(),
            "oldest_ready_s": lambda s=store: s.insight.oldest_ready_s(now),
            "oldest_queued_s": lambda s=store: s.insight.oldest_queued_s(now),
            "ready_routes": lambda s=store: s.insight.ready_routes(now),
            "outcomes": lambda s=store: s.insight.outcomes(now - 3600, now),
            "in_hand": lambda s=store: s.workers.in_hand(),
            "newest logs": lambda s=store: [s.logs.newest(level=level) for level in (None, "DEBUG", "ERROR")],
            "expire_leases": lambda s=store: s.upkeep.expire_leases(now),
            "take_back": lambda s=store: s.upkeep.take_back(["nobody"], now, reason=""),
            "renew": lambda s=store: s.work.renew(["w1"], 30, now),
            "next_due": lambda s=store: s.work.next_due(),
            "prune": lambda s=store: s.upkeep.prune(KEEP_ALL, now),
            "held tasks": lambda s=store: s.tasks.count(TaskFilter(statuses=("claimed", "processing"))),
        }[figure]
        costs.append(pages_of(engine, act))
    assert costs[1] <= RATIO * costs[0] + CONSTANT, costs
