"""What the explanation of a task asks of a store: what is ready, what is ahead, which keys are held."""

from __future__ import annotations

from random import Random

import pytest

from prismq.domain.strategy import SchedulingStrategy
from prismq.storage.contract import HeldKey, ReadyRoute, Store
from tests.helpers.builders import a_request, a_task, a_worker, claim, claim_one, complete, only
from tests.helpers.clock import START, FakeClock
from tests.helpers.engines import Engine

S = SchedulingStrategy


# -- what is ready


def test_what_is_ready_is_told_by_queue_type_and_compatibility_with_the_first_of_each(
    store: Store, clock: FakeClock
) -> None:
    assert store.insight.ready_routes(clock.now()) == []
    began = clock.now()
    store.inbox.enqueue(a_task("a", priority=200), began)
    clock.advance(10)
    later = store.inbox.enqueue(a_task("a"), clock.now()).task_id
    gpu = store.inbox.enqueue(a_task("a", compatibility='{"gpu":true}', queue="q"), clock.now()).task_id
    store.inbox.enqueue(a_task("b", run_at=clock.now() + 60), clock.now())
    found = store.insight.ready_routes(clock.now())

    assert sorted(found) == [
        ReadyRoute("default", "a", "{}", later, began + 10),
        ReadyRoute("q", "a", '{"gpu":true}', gpu, began + 10),
    ]


def test_what_is_claimed_is_not_ready(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task("a"), clock.now())
    claim_one(store, clock)
    assert store.insight.ready_routes(clock.now()) == []


def test_paused_queues_are_told_too(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task("a"), clock.now())
    store.queues.pause("default", "ann", clock.now())
    assert [route.type for route in store.insight.ready_routes(clock.now())] == ["a"]


def test_how_things_stand_is_what_each_question_alone_is_answered(store: Store, clock: FakeClock) -> None:
    assert store.standing(clock.now()) == (clock.now(), None, {}, [], [], [])
    for queue, type_ in (("a", "one"), ("a", "two"), ("b", "one")):
        store.inbox.enqueue(a_task(type_, queue=queue), clock.now())
    store.inbox.enqueue(a_task(queue="later", run_at=clock.now() + 60), clock.now())
    store.queues.pause("b", "ann", clock.now())
    store.workers.register(a_worker(), clock.now())
    claim_one(store, clock, queues=["a"])
    found = store.standing(clock.advance(5))

    now = clock.now()
    assert found == (
        now, store.work.next_due(), store.insight.depth(), store.queues.all(now), store.insight.ready_routes(now),
        store.workers.all(),
    )  # fmt: skip
    assert [len(part) for part in found[2:]] == [4, 3, 2, 1]
    assert found.next_due == START + 60


def test_a_row_that_is_queued_ahead_of_its_time_is_not_ready(engine: Engine, clock: FakeClock) -> None:
    engine.hand("INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('t', '{}', '2200-01-01 00:00:00')")
    assert engine.store.insight.ready_routes(clock.now()) == []


# -- what is ahead


def ahead(store: Store, task_id: int, at_most: int = 100, **options: object) -> int:
    return store.insight.ahead(task_id, a_request(**options), at_most)  # type: ignore[arg-type]


def test_by_priority_a_lower_number_and_then_a_lower_id_is_ahead(store: Store, clock: FakeClock) -> None:
    ids = [store.inbox.enqueue(a_task(priority=p), clock.now()).task_id for p in (100, 5, 100, 100, 200)]
    assert [ahead(store, task_id) for task_id in ids] == [1, 0, 2, 3, 4]
    assert [lease.task_id for lease in claim(store, clock)] == [ids[1], ids[0], ids[2], ids[3], ids[4]]


def test_by_age_the_older_and_by_youth_the_younger_is_ahead(store: Store, clock: FakeClock) -> None:
    ids = [store.inbox.enqueue(a_task(priority=p), clock.now()).task_id for p in (100, 5, 200)]
    assert [ahead(store, task_id, strategy=S.FIFO) for task_id in ids] == [0, 1, 2]
    assert [ahead(store, task_id, strategy=S.LIFO) for task_id in ids] == [2, 1, 0]


def test_by_lot_all_the_others_are(store: Store, clock: FakeClock) -> None:
    ids = [store.inbox.enqueue(a_task(priority=p), clock.now()).task_id for p in (100, 100, 5)]
    assert [ahead(store, task_id, strategy=S.WEIGHTED_RANDOM) for task_id in ids] == [2, 2, 2]


def test_only_what_the_worker_serves_is_ahead(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task("other", priority=1)] * 3 + [a_task("job", queue="far", priority=1)], clock.now())
    store.inbox.enqueue_many([a_task("job", priority=2)] * 2, clock.now())
    last = store.inbox.enqueue(a_task("job"), clock.now()).task_id
    assert ahead(store, last) == 6
    assert ahead(store, last, can_serve=only("job")) == 3
    assert ahead(store, last, can_serve=only("job"), queues=("default",)) == 2
    assert ahead(store, last, queues=("default",)) == 5


def test_tasks_of_a_paused_queue_are_not_ahead_and_those_of_a_full_one_are(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(queue="paused"), a_task(queue="full"), a_task(queue="full")], clock.now())
    store.queues.limit("full", 1)
    claim_one(store, clock, queues=("full",))
    store.queues.pause("paused", "ann", clock.now())
    last = store.inbox.enqueue(a_task(), clock.now()).task_id
    assert ahead(store, last) == 1


def test_it_is_counted_no_further_than_asked(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(priority=number % 3) for number in range(30)], clock.now())
    last = store.inbox.enqueue(a_task(), clock.now()).task_id
    assert [ahead(store, last, at_most) for at_most in (1, 7, 30, 31)] == [1, 7, 30, 30]


def test_nothing_is_ahead_of_a_task_that_does_not_queue(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    later = store.inbox.enqueue(a_task(run_at=clock.now() + 60), clock.now()).task_id
    assert ahead(store, later) == ahead(store, 4711) == 0


@pytest.mark.parametrize("strategy", [S.PRIORITY, S.FIFO, S.LIFO], ids=str)
def test_the_place_in_line_is_the_place_in_which_it_is_claimed(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy, seed: int
) -> None:
    rng = Random(seed)
    tasks = [
        a_task(rng.choice("ab"), queue=rng.choice("xyz"), priority=rng.choice((1, 100, 100, 300))) for _ in range(60)
    ]
    ids = [done.task_id for done in store.inbox.enqueue_many(tasks, clock.now())]
    options = {"strategy": strategy, "can_serve": only("a"), "queues": ("x", "y")}
    mine = [one for one, task in zip(ids, tasks, strict=True) if task.type == "a" and task.queue in "xy"]
    places = {task_id: ahead(store, task_id, **options) for task_id in mine}

    order = [lease.task_id for lease in claim(store, clock, limit=100, **options)]
    assert [places[task_id] for task_id in order] == list(range(len(mine)))


# -- unique keys


def test_the_unique_keys_of_a_task_are_told(store: Store, clock: FakeClock) -> None:
    window = store.inbox.enqueue(a_task(unique_key="window", unique_for_s=60), clock.now()).task_id
    pending = store.inbox.enqueue(a_task(unique_key="pending", unique_pending=True), clock.now()).task_id
    plain = store.inbox.enqueue(a_task(), clock.now()).task_id

    assert store.insight.held_keys(window) == [HeldKey("window", clock.now() + 60, False)]
    assert store.insight.held_keys(pending) == [HeldKey("pending", clock.now(), True)]
    assert store.insight.held_keys(plain) == []


def test_a_key_that_another_took_is_no_longer_told(store: Store, clock: FakeClock) -> None:
    first = store.inbox.enqueue(a_task(unique_key="k", unique_for_s=10), clock.now()).task_id
    complete(store, clock, claim_one(store, clock))
    clock.advance(11)
    second = store.inbox.enqueue(a_task(unique_key="k", unique_for_s=10), clock.now()).task_id
    assert store.insight.held_keys(first) == []
    assert [key.key for key in store.insight.held_keys(second)] == ["k"]


# -- the place itself


def test_a_connection_inside_a_transaction_is_active(store: Store, clock: FakeClock) -> None:
    store.check()
    resting = store.insight.connections()
    assert resting.active == 0
    assert resting.total == resting.idle >= 1
    with store.inbox.transaction():
        store.inbox.enqueue(a_task(), clock.now())
        assert store.insight.connections().active == 1


def test_the_space_grows_with_what_is_kept(store: Store, clock: FakeClock) -> None:
    before = store.insight.space()
    store.inbox.enqueue_many([a_task(payload='{"x":"%s"}' % ("x" * 1000)) for _ in range(1000)], clock.now())
    after = store.insight.space()
    assert after.used > before.used
    if after.free is not None and after.total is not None:  # None where the engine cannot see the disk
        assert 0 <= after.free <= after.total
