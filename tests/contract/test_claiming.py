"""What a worker gets, and in which order."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import product
from random import Random

import pytest

from prismq.domain.limits import PROMOTE_CHUNK
from prismq.domain.status import TaskStatus
from prismq.domain.strategy import Candidate, SchedulingStrategy, choose
from prismq.domain.task import TaskFilter
from prismq.domain.times import from_epoch
from prismq.storage.contract import Batch, Store
from tests.helpers.builders import (
    LEASE_S,
    a_request,
    a_task,
    claim,
    claim_one,
    complete,
    everything,
    only,
    retry_later,
    settlement,
    status_of,
    the_task,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

STRATEGIES = list(SchedulingStrategy)
each_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
HAND = "INSERT INTO task_queue (type, payload) VALUES ('by_hand', '{}')"


def enqueue(store: Store, clock: FakeClock, *priorities: int, **options: object) -> list[int]:
    return [store.inbox.enqueue(a_task(priority=p, **options), clock.now()).task_id for p in priorities]


# -- the lease


def test_a_claim_leases_the_task_to_the_worker(store: Store, clock: FakeClock) -> None:
    [task_id] = enqueue(store, clock, 100)
    lease = claim_one(store, clock, "w7")

    task = the_task(store, task_id)
    assert (task.status, task.locked_by, task.attempts, task.fencing_token) == ("claimed", "w7", 1, 1)
    assert task.lease_until_utc == from_epoch(clock.now() + LEASE_S)
    assert task.reserved_at_utc == from_epoch(clock.now())
    assert (lease.task_id, lease.worker_id, lease.attempt, lease.fencing_token) == (task_id, "w7", 1, 1)
    assert (lease.claimed_at, lease.lease_until) == (clock.now(), clock.now() + LEASE_S)


def test_a_lease_carries_what_the_handler_needs(store: Store, clock: FakeClock) -> None:
    now = clock.now()
    store.inbox.enqueue(
        a_task("t", payload='{"a":1}', queue="q", priority=3, max_attempts=2, timeout_s=1.5, backoff="{}",
               retention_s=9.0, headers={"h": "v"}, schedule="s", idempotency_key="k"),
        now,
    )  # fmt: skip
    clock.advance(4)
    lease = claim_one(store, clock)

    assert (lease.type, json.loads(lease.payload)) == ("t", {"a": 1})
    assert (lease.queue, lease.priority, lease.max_attempts) == ("q", 3, 2)
    assert (lease.timeout_s, lease.backoff, lease.retention_s, lease.crashes) == (1.5, "{}", 9.0, 0)
    assert json.loads(lease.headers or "") == {"h": "v"}
    assert (lease.schedule, lease.idempotency_key, lease.run_after) == ("s", "k", now)


def test_each_claim_counts_as_an_attempt_and_raises_the_token(store: Store, clock: FakeClock) -> None:
    enqueue(store, clock, 100)
    seen = []
    for _ in range(3):
        lease = claim_one(store, clock)
        seen.append((lease.attempt, lease.fencing_token))
        retry_later(store, clock, lease, 0)

    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_a_claimed_task_is_claimed_by_nobody_else(engine: Engine, clock: FakeClock) -> None:
    enqueue(engine.store, clock, 100)
    other = engine.another()
    claim_one(engine.store, clock, "w1")

    assert claim(other, clock, "w2") == []
    clock.advance(LEASE_S * 10)  # over, but not expired: the reaper decides
    assert claim(other, clock, "w2") == []


def test_a_claim_takes_at_most_limit(store: Store, clock: FakeClock) -> None:
    enqueue(store, clock, *[100] * 5)
    assert [len(claim(store, clock, limit=limit)) for limit in (3, 3, 3)] == [3, 2, 0]


@each_strategy
@pytest.mark.parametrize("limit", [0, -1])
def test_a_claim_of_nothing_takes_nothing(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy, limit: int
) -> None:
    enqueue(store, clock, 1, 100, 100)
    assert claim(store, clock, limit=limit, strategy=strategy) == []


@pytest.mark.parametrize("status", [s for s in TaskStatus if s is not TaskStatus.QUEUED], ids=str)
def test_a_task_that_is_not_queued_is_never_claimed(engine: Engine, clock: FakeClock, status: TaskStatus) -> None:
    [task_id] = enqueue(engine.store, clock, 100)
    engine.hand(
        f"UPDATE task_queue SET status = '{status}', run_after_utc = '2100-01-01 00:00:00' WHERE id = {task_id}"
    )

    assert claim(engine.store, clock) == []


# -- the order


def a_mixed_queue(store: Store, clock: FakeClock) -> list[tuple[int, int, str, str, str]]:
    """(id, priority, queue, type, compatibility) of tasks that differ in everything."""
    rows = []
    rng = Random(4)
    everything_there_is = list(
        product([1, 50, 100, 100, 200], ["a", "b"], ["x", "y", "z"], ["{}", '{"region":"eu"}', '{"region":"us"}'])
    )
    rng.shuffle(everything_there_is)
    for priority, queue, type_, compatibility in everything_there_is:
        new = a_task(type_, priority=priority, queue=queue, compatibility=compatibility)
        rows.append((store.inbox.enqueue(new, clock.now()).task_id, priority, queue, type_, compatibility))
    return rows


@each_strategy
@pytest.mark.parametrize("queues", [None, ("a",), ("b", "nowhere")], ids=str)
@pytest.mark.parametrize("types", ["xyz", "xz", "y", ""])
@pytest.mark.parametrize("offer", ["eu", "any"])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_claim_takes_what_the_strategy_chooses_among_what_the_worker_can_serve(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy, queues: tuple[str, ...] | None, types: str,
    offer: str, limit: int,
) -> None:  # fmt: skip
    def can_serve(type_: str, compatibility: str) -> bool:
        return type_ in tuple(types) and (offer == "any" or compatibility in ("{}", '{"region":"eu"}'))

    servable = [
        Candidate(task_id, priority)
        for task_id, priority, queue, type_, compatibility in a_mixed_queue(store, clock)
        if (queues is None or queue in queues) and can_serve(type_, compatibility)
    ]
    leases = claim(store, clock, limit=limit, strategy=strategy, queues=queues, can_serve=can_serve, rng=Random(limit))

    chosen = choose(servable, strategy, limit, Random(limit))
    assert [lease.task_id for lease in leases] == [candidate.task_id for candidate in chosen]


@each_strategy
def test_claims_in_a_row_take_everything_once(store: Store, clock: FakeClock, strategy: SchedulingStrategy) -> None:
    ids = enqueue(store, clock, *[n % 7 * 40 for n in range(100)])
    taken: list[int] = []
    while leases := claim(store, clock, limit=9, strategy=strategy):
        taken += [lease.task_id for lease in leases]

    assert sorted(taken) == ids
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("count", [99, 101, 150])
def test_weighted_random_draws_as_the_domain_does_from_a_large_class(
    store: Store, clock: FakeClock, count: int
) -> None:
    ids = enqueue(store, clock, *[0] * count, *[3] * count)
    candidates = [Candidate(task_id, 0 if n < count else 3) for n, task_id in enumerate(ids)]
    for seed in range(5):
        leases = claim(store, clock, limit=20, strategy=SchedulingStrategy.WEIGHTED_RANDOM, rng=Random(seed))
        chosen = choose(candidates, SchedulingStrategy.WEIGHTED_RANDOM, 20, Random(seed))
        assert [lease.task_id for lease in leases] == [candidate.task_id for candidate in chosen]
        candidates = [candidate for candidate in candidates if candidate not in chosen]


def test_an_operators_new_priority_counts_for_the_next_claim(store: Store, clock: FakeClock) -> None:
    ids = enqueue(store, clock, 100, 100, 100)
    store.tasks.reprioritise(TaskFilter(ids=(ids[2],)), 1, clock.now())

    assert claim_one(store, clock).task_id == ids[2]


# -- what a worker can serve


@each_strategy
def test_types_a_worker_does_not_know_are_left_untouched(
    engine: Engine, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    store = engine.store
    unknown = store.inbox.enqueue(a_task("unknown", priority=1), clock.now()).task_id
    known = store.inbox.enqueue(a_task("known"), clock.now()).task_id
    before = engine.look("SELECT * FROM task_queue WHERE id = ?", (unknown,))

    assert [lease.task_id for lease in claim(store, clock, can_serve=only("known"), strategy=strategy)] == [known]
    assert engine.look("SELECT * FROM task_queue WHERE id = ?", (unknown,)) == before


def test_what_is_asked_of_can_serve_is_the_type_and_the_compatibility_as_written(
    store: Store, clock: FakeClock
) -> None:
    asked: set[tuple[str, str]] = set()

    def can_serve(type_: str, compatibility: str) -> bool:
        asked.add((type_, compatibility))
        return False

    store.inbox.enqueue(a_task("a", compatibility='{"gpu":true}'), clock.now())
    store.inbox.enqueue(a_task("b"), clock.now())
    assert claim(store, clock, can_serve=can_serve) == []
    assert asked == {("a", '{"gpu":true}'), ("b", "{}")}


# -- what was so at the last claim need not be so at the next

a_or_b = only("a", "b")  # one object, as a worker asks with
CHANGES = {
    "paused": (lambda store, clock: store.queues.pause("default", "ann", clock.now()), []),
    "limited": (lambda store, clock: store.queues.limit("default", 3), ["a"]),
    "another type": (lambda store, clock: enqueue(store, clock, 1, type_="b"), ["b", "a", "a"]),
    "a type that it cannot serve": (lambda store, clock: enqueue(store, clock, 1, type_="c"), ["a", "a"]),
    "another queue": (lambda store, clock: enqueue(store, clock, 1, type_="b", queue="other"), ["b", "a", "a"]),
    "another queue that it cannot serve": (
        lambda store, clock: enqueue(store, clock, 1, type_="c", queue="other"),
        ["a", "a"],
    ),
    "something became due": (lambda store, clock: clock.advance(100), ["a", "a", "a"]),
}


@pytest.mark.parametrize("queues", [None, ("default",), ("default", "other")], ids=str)
@pytest.mark.parametrize("change", list(CHANGES))
def test_every_claim_sees_what_has_changed(
    store: Store, clock: FakeClock, change: str, queues: tuple[str, ...] | None
) -> None:
    asked = {"queues": queues, "can_serve": a_or_b}
    enqueue(store, clock, 100, 100, type_="a")
    enqueue(store, clock, 100, type_="a", run_at=clock.now() + 90)
    for _ in range(2):  # the second goes by what the first has seen
        assert [lease.type for lease in claim(store, clock, limit=1, **asked)] == ["a"]
        enqueue(store, clock, 100, type_="a")
    act, expected = CHANGES[change]
    act(store, clock)
    if change == "another queue" and queues == ("default",):
        expected = ["a", "a"]
    assert [lease.type for lease in claim(store, clock, limit=10, **asked)] == expected
    assert claim(store, clock, limit=10, **asked) == []


# -- paused and limited queues


@each_strategy
def test_a_paused_queue_gives_nothing_until_it_is_resumed(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    enqueue(store, clock, 1, queue="paused")
    [open_task] = enqueue(store, clock, 100, queue="open")
    store.queues.pause("paused", "ann", clock.now())

    assert [lease.task_id for lease in claim(store, clock, strategy=strategy)] == [open_task]
    store.queues.resume("paused")
    assert [lease.queue for lease in claim(store, clock, strategy=strategy)] == ["paused"]


@each_strategy
def test_no_more_tasks_of_a_limited_queue_run_at_once_than_its_limit(
    engine: Engine, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    store, other = engine.store, engine.another()
    enqueue(store, clock, *[1] * 6, queue="small")
    enqueue(store, clock, *[100] * 6, queue="open")
    store.queues.limit("small", 2)
    first = claim(store, clock, "w1", limit=4, strategy=strategy)
    second = claim(other, clock, "w2", limit=20, strategy=strategy)
    running = [lease for lease in [*first, *second] if lease.queue == "small"]

    assert len(running) == 2
    assert len(second) == 8 - len(first), "the other queue is not held up"
    complete(store, clock, running[0])
    assert [lease.queue for lease in claim(store, clock, limit=20, strategy=strategy)] == ["small"]
    store.queues.limit("small", None)
    assert len(claim(store, clock, limit=20, strategy=strategy)) == 3


@each_strategy
def test_the_room_that_a_limited_queue_leaves_is_filled_from_the_others(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    enqueue(store, clock, *[100] * 20, queue="open")
    enqueue(store, clock, *[1] * 20, queue="small")
    store.queues.limit("small", 1)

    assert len(claim(store, clock, limit=10, strategy=strategy)) == 10


def test_a_limit_of_nought_holds_the_queue(store: Store, clock: FakeClock) -> None:
    enqueue(store, clock, 100, queue="small")
    store.queues.limit("small", 0)
    assert claim(store, clock) == []


# -- time


def test_a_scheduled_task_is_ready_at_its_time_and_not_before(store: Store, clock: FakeClock) -> None:
    [task_id] = enqueue(store, clock, 100, run_at=clock.now() + 10)
    clock.advance(9.9)
    before = claim(store, clock)
    clock.advance(0.1)

    assert before == []
    assert [lease.task_id for lease in claim(store, clock)] == [task_id]


def test_next_due_is_the_earliest_time_of_a_scheduled_task(store: Store, clock: FakeClock) -> None:
    assert store.work.next_due() is None
    now = clock.now()
    enqueue(store, clock, 100)
    assert store.work.next_due() is None
    enqueue(store, clock, 100, run_at=now + 20)
    enqueue(store, clock, 100, run_at=now + 10)
    assert store.work.next_due() == now + 10


def test_what_is_due_becomes_ready_in_bounded_steps_and_all_of_it(store: Store, clock: FakeClock) -> None:
    count = PROMOTE_CHUNK + 500
    store.inbox.enqueue_many([a_task(run_at=clock.now() + 1) for _ in range(count)], clock.now())
    clock.advance(1)
    assert len(claim(store, clock, limit=count)) == PROMOTE_CHUNK
    assert len(claim(store, clock, limit=count)) == 500


# -- rows written by hand


@each_strategy
def test_a_row_inserted_by_hand_with_type_and_payload_is_like_any_other(
    engine: Engine, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    engine.hand(HAND)
    lease = claim_one(engine.store, clock, strategy=strategy)

    assert (lease.type, lease.payload, lease.queue, lease.priority) == ("by_hand", "{}", "default", 100)
    assert (lease.attempt, lease.max_attempts, lease.timeout_s) == (1, 5, None)
    complete(engine.store, clock, lease)
    assert status_of(engine.store, lease.task_id) == "completed"


TIMES_BY_HAND = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.000",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.000Z",
    "%Y-%m-%dT%H:%M:%S+00:00",
    "%Y-%m-%d %H:%M:%S+00:00",
    "%Y-%m-%d %H:%M:%SZ",
]


@pytest.mark.parametrize("form", TIMES_BY_HAND)
def test_a_row_by_hand_for_later_waits_for_its_time_in_whatever_form(
    engine: Engine, clock: FakeClock, form: str
) -> None:
    at = from_epoch(clock.now() + 10).strftime(form)
    engine.hand("INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('by_hand', '{}', ?)", (at,))
    assert claim(engine.store, clock) == []
    clock.advance(9)
    assert claim(engine.store, clock) == []
    assert engine.store.insight.depth() == engine.store.insight.recount()
    clock.advance(1.001)
    assert len(claim(engine.store, clock)) == 1


@pytest.mark.parametrize("form", TIMES_BY_HAND)
def test_a_row_by_hand_whose_time_has_come_is_ready_in_whatever_form(
    engine: Engine, clock: FakeClock, form: str
) -> None:
    at = from_epoch(clock.now() - 10).strftime(form)
    engine.hand("INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('by_hand', '{}', ?)", (at,))
    # A look without the writer's lock may say there is nothing; new rows are read with the next write.
    engine.store.upkeep.book(clock.now())
    assert len(claim(engine.store, clock)) == 1


@pytest.mark.parametrize("form", TIMES_BY_HAND)
def test_a_time_changed_by_hand_counts_in_whatever_form(engine: Engine, clock: FakeClock, form: str) -> None:
    [task_id] = enqueue(engine.store, clock, 100)
    engine.store.upkeep.book(clock.now())
    at = from_epoch(clock.now() + 10).strftime(form)
    engine.hand(f"UPDATE task_queue SET run_after_utc = '{at}' WHERE id = {task_id}")
    assert claim(engine.store, clock) == []
    clock.advance(10.001)
    assert len(claim(engine.store, clock)) == 1


def test_a_time_of_another_zone_is_read_as_such(engine: Engine, clock: FakeClock) -> None:
    moment = datetime.fromtimestamp(clock.now() + 10, timezone(timedelta(hours=5))).isoformat(timespec="seconds")
    engine.hand("INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('by_hand', '{}', ?)", (moment,))
    assert claim(engine.store, clock) == []
    clock.advance(10)
    assert len(claim(engine.store, clock)) == 1


def test_a_row_put_back_to_queued_by_hand_is_claimed_again(engine: Engine, clock: FakeClock) -> None:
    enqueue(engine.store, clock, 100)
    lease = claim_one(engine.store, clock)
    engine.hand(f"UPDATE task_queue SET status = 'queued' WHERE id = {lease.task_id}")
    again = claim_one(engine.store, clock, "w2")

    assert again.task_id == lease.task_id
    assert again.fencing_token > lease.fencing_token


def test_a_row_moved_to_another_queue_by_hand_is_claimed_there(engine: Engine, clock: FakeClock) -> None:
    [task_id] = enqueue(engine.store, clock, 100)
    engine.hand(f"UPDATE task_queue SET queue = 'elsewhere', type = 'other', priority = 1 WHERE id = {task_id}")

    assert claim(engine.store, clock, queues=("default",)) == []
    assert claim_one(engine.store, clock, queues=("elsewhere",), can_serve=only("other")).priority == 1


def test_a_row_inserted_by_hand_is_found_by_an_empty_worker_in_its_next_look(engine: Engine, clock: FakeClock) -> None:
    assert claim(engine.store, clock) == []
    engine.hand(HAND)
    assert len(claim(engine.store, clock, can_serve=everything)) == 1


def test_an_exchange_of_nothing_answers_nothing(store: Store, clock: FakeClock) -> None:
    enqueue(store, clock, 100)
    answer = store.work.exchange(Batch(), None, clock.now())
    assert (answer.lost, answer.leases) == (frozenset(), [])


def test_one_exchange_settles_and_claims(store: Store, clock: FakeClock) -> None:
    first, second = enqueue(store, clock, 100, 100)
    lease = claim_one(store, clock)
    batch = Batch(settlements=[settlement(lease, TaskStatus.COMPLETED, clock.now())])
    answer = store.work.exchange(batch, a_request(), clock.now())

    assert [new.task_id for new in answer.leases] == [second]
    assert status_of(store, first) == "completed"
