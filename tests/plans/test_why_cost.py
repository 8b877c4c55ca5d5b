"""What an explanation costs does not depend on how much is queued. Counted in SQLite's own steps, not in seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prismq.domain.strategy import SchedulingStrategy
from prismq.observability.why import AHEAD_MAX, explain
from tests.helpers.builders import a_report, a_request, a_worker
from tests.helpers.clock import FakeClock
from tests.helpers.engines import SqliteEngine, sqlite_engine
from tests.plans.test_claim_cost import steps_of

FEW, MANY = 20_000, 200_000  # both beyond AHEAD_MAX: what is counted is the same
RATIO, CONSTANT = 1.05, 200
_FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO task_queue (type, payload, priority, queue)
SELECT CASE i % 5 WHEN 0 THEN 'other' ELSE 'job' END, '{{}}', 100 + i % 3, 'q' || (i % 2) FROM n
"""


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqliteEngine, SqliteEngine]]:
    folder, clock = tmp_path_factory.mktemp("why"), FakeClock()
    (folder / "few").mkdir()
    (folder / "many").mkdir()
    with sqlite_engine(folder / "few") as few, sqlite_engine(folder / "many") as many:
        for engine, count in ((few, FEW), (many, MANY)):
            engine.hand("PRAGMA synchronous = OFF")
            engine.hand(_FILL.format(count=count))
            while engine.store.upkeep.book(clock.now()):
                pass
            worker = a_worker(slots=4, types='["job"]', strategy="priority")
            engine.store.workers.register(worker, clock.now())
            engine.store.workers.heartbeat(
                a_report(busy=4, last_look_at=clock.now(), last_claim_at=clock.now()), clock.now()
            )
        yield few, many


def last_id(engine: SqliteEngine) -> int:
    """The newest task of the rearmost class that the worker serves."""
    return int(engine.look("SELECT max(id) FROM task_queue WHERE type = 'job' AND priority = 102")[0][0])


@pytest.mark.parametrize("strategy", list(SchedulingStrategy), ids=str)
def test_the_place_in_line_costs_no_more_than_its_bound(
    few_and_many: tuple[SqliteEngine, SqliteEngine], strategy: SchedulingStrategy
) -> None:
    costs = []
    for engine in few_and_many:
        task_id, claim = last_id(engine), a_request(strategy=strategy, can_serve=lambda type_, _: type_ == "job")
        insight, counted = engine.store.insight, []
        costs.append(steps_of(engine, lambda i=insight, t=task_id, c=claim, n=counted: n.append(i.ahead(t, c, 5_000))))
        # The newest has no more than the other queue's before it where the newest go first.
        assert counted == [5_000] or strategy is SchedulingStrategy.LIFO
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs


def test_an_explanation_costs_the_same_however_much_is_queued(
    few_and_many: tuple[SqliteEngine, SqliteEngine], clock: FakeClock
) -> None:
    costs = []
    for engine in few_and_many:
        task_id = last_id(engine)
        [reason] = explain(engine.store, task_id, clock.now()).reasons
        assert (reason.code, reason.data["ahead"]) == ("ahead", AHEAD_MAX)
        assert reason.data["ahead_at_most"] > AHEAD_MAX
        costs.append(steps_of(engine, lambda e=engine, t=task_id: explain(e.store, t, clock.now())))
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs


def test_what_is_ready_costs_the_same_however_much_is_queued(
    few_and_many: tuple[SqliteEngine, SqliteEngine], clock: FakeClock
) -> None:
    costs = [steps_of(engine, lambda e=engine: e.store.insight.ready_routes(clock.now())) for engine in few_and_many]
    assert 0 < costs[1] <= RATIO * costs[0] + CONSTANT, costs
