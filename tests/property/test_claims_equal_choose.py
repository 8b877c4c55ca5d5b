"""What SQL claims is what `domain.strategy.choose` and `domain.compatibility.matches` say, for any queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prismq.domain.compatibility import matches
from prismq.domain.strategy import Candidate, SchedulingStrategy, choose
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Batch, Store
from tests.helpers.builders import a_request, a_task
from tests.helpers.clock import START
from tests.helpers.engines import ENGINES

COMPATIBILITIES = ["{}", '{"region":"eu"}', '{"gpu":true,"memory_gb":8}', '{"region":["eu","us"]}']
TASKS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),  # queue
        st.sampled_from(["x", "y", "z"]),  # type
        st.sampled_from([-5, 0, 1, 99, 100, 101, 1000]),
        st.sampled_from(COMPATIBILITIES),
        st.sampled_from([0.0, 0.0, 0.0, 60.0]),  # seconds until it is due
    ),
    max_size=40,
)
CAPABILITIES = st.sampled_from([{}, {"region": "eu"}, {"region": ["eu", "us"]}, {"gpu": True, "memory_gb": 16}])


@pytest.fixture(scope="module", params=list(ENGINES))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with ENGINES[request.param](tmp_path_factory.mktemp("choose")) as engine:
        yield engine.store


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    tasks=TASKS,
    limit=st.integers(0, 45),
    strategy=st.sampled_from(list(SchedulingStrategy)),
    queues=st.sampled_from([None, ("a",), ("c", "a"), ("nowhere",)]),
    types=st.sampled_from(["xyz", "xy", "z", ""]),
    offered=CAPABILITIES,
    seed=st.integers(0, 9),
)
def test_a_claim_takes_what_choose_takes(
    store: Store, tasks: list[tuple[str, str, int, str, float]], limit: int, strategy: SchedulingStrategy,
    queues: tuple[str, ...] | None, types: str, offered: dict[str, object], seed: int,
) -> None:  # fmt: skip
    store.upkeep.expire_leases(START, dead_workers=["w1"])
    store.tasks.delete(TaskFilter())
    news = [
        a_task(type_, queue=queue, priority=priority, compatibility=compatibility, run_at=START + delay)
        for queue, type_, priority, compatibility, delay in tasks
    ]
    ids = [done.task_id for done in store.inbox.enqueue_many(news, START)]

    def can_serve(type_: str, compatibility: str) -> bool:
        return type_ in tuple(types) and matches(json.loads(compatibility), offered)

    servable = [
        Candidate(task_id, priority)
        for task_id, (queue, type_, priority, compatibility, delay) in zip(ids, tasks, strict=True)
        if not delay and (queues is None or queue in queues) and can_serve(type_, compatibility)
    ]
    request = a_request(limit=limit, strategy=strategy, queues=queues, can_serve=can_serve, rng=Random(seed))
    leases = store.work.exchange(Batch(), request, START).leases

    chosen = choose(servable, strategy, limit, Random(seed))
    assert [lease.task_id for lease in leases] == [candidate.task_id for candidate in chosen]
