"""Breakers of task types, as every claim honours them, and the record of acts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prismq.domain.account import AuditEntry
from prismq.domain.breaker import Breaker, BreakerState
from prismq.domain.strategy import SchedulingStrategy
from prismq.storage.contract import ActTotal, Batch, Store
from tests.helpers.builders import a_request, a_task, claim, complete, only, status_of
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

STRATEGIES = list(SchedulingStrategy)


def _put(store: Store, clock: FakeClock, type_: str, state: BreakerState, **more: object) -> Breaker:
    breaker = Breaker(type_, state, clock.now(), "it failed", "test", clock.now(), 1, **more)  # type: ignore[arg-type]
    assert store.remedies.put_breaker(breaker, instead_of=store.remedies.breaker(type_))
    return breaker


def _enqueue(store: Store, clock: FakeClock, type_: str, number: int = 1, **options: object) -> list[int]:
    return [store.inbox.enqueue(a_task(type_, **options), clock.now()).task_id for _ in range(number)]


def _types(store: Store, clock: FakeClock, **options: object) -> list[str]:
    return sorted(lease.type for lease in claim(store, clock, **options))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_open_type_is_not_claimed_and_others_are(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    _enqueue(store, clock, "bad", 3)
    _enqueue(store, clock, "bad", 2, queue="other", compatibility='{"region":"eu"}')
    _enqueue(store, clock, "good", 2)
    _put(store, clock, "bad", BreakerState.OPEN)

    assert _types(store, clock, strategy=strategy) == ["good", "good"]
    assert _types(store, clock, strategy=strategy) == []


def test_tasks_that_a_breaker_keeps_are_nobodys_fault(store: Store, clock: FakeClock) -> None:
    _enqueue(store, clock, "bad")
    _enqueue(store, clock, "good")
    _put(store, clock, "bad", BreakerState.OPEN)

    assert [route.type for route in store.insight.ready_routes(clock.now())] == ["good"]


def test_a_closed_breaker_keeps_nothing(store: Store, clock: FakeClock) -> None:
    _enqueue(store, clock, "bad", 2)
    _put(store, clock, "bad", BreakerState.CLOSED)

    assert _types(store, clock) == ["bad", "bad"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_a_half_open_type_one_task_is_claimed_and_is_the_probe(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    _enqueue(store, clock, "bad", 3)
    _enqueue(store, clock, "bad", 3, priority=7)
    _enqueue(store, clock, "bad", 2, queue="other")
    _enqueue(store, clock, "bad", 2, compatibility='{"region":"eu"}')
    _enqueue(store, clock, "good", 2)
    _put(store, clock, "bad", BreakerState.HALF_OPEN)

    found = claim(store, clock, strategy=strategy)
    again = claim(store, clock, "w2", strategy=strategy)

    assert sorted(lease.type for lease in found) == ["bad", "good", "good"]
    assert again == []
    breaker = store.remedies.breaker("bad")
    assert breaker is not None
    assert breaker.state is BreakerState.PROBING
    assert breaker.probe_task_id == next(lease.task_id for lease in found if lease.type == "bad")
    assert breaker.since == pytest.approx(clock.now())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_probe_is_taken_where_nothing_else_is_ready(
    store: Store, clock: FakeClock, strategy: SchedulingStrategy
) -> None:
    _enqueue(store, clock, "bad", 3)
    _put(store, clock, "bad", BreakerState.HALF_OPEN)

    assert _types(store, clock, strategy=strategy) == ["bad"]


def test_who_cannot_serve_a_half_open_type_does_not_use_its_probe_up(store: Store, clock: FakeClock) -> None:
    _enqueue(store, clock, "bad", 2)
    _enqueue(store, clock, "good")
    _put(store, clock, "bad", BreakerState.HALF_OPEN)

    assert _types(store, clock, can_serve=only("good")) == ["good"]
    assert store.remedies.breaker("bad").state is BreakerState.HALF_OPEN  # type: ignore[union-attr]
    assert _types(store, clock, can_serve=only("bad")) == ["bad"]


def test_a_probe_that_a_paused_or_full_queue_keeps_is_not_used_up(store: Store, clock: FakeClock) -> None:
    _enqueue(store, clock, "bad", 2, queue="slow")
    _put(store, clock, "bad", BreakerState.HALF_OPEN)
    store.queues.pause("slow", "ada", clock.now())

    assert _types(store, clock) == []
    assert store.remedies.breaker("bad").state is BreakerState.HALF_OPEN  # type: ignore[union-attr]
    store.queues.resume("slow")
    assert _types(store, clock) == ["bad"]


def test_what_is_leased_when_a_breaker_opens_goes_on(store: Store, clock: FakeClock) -> None:
    [task_id] = _enqueue(store, clock, "bad")
    [lease] = claim(store, clock)
    _put(store, clock, "bad", BreakerState.OPEN)

    assert complete(store, clock, lease).lost == frozenset()
    assert status_of(store, task_id) == "completed"


def test_two_workers_never_try_two_tasks(engine: Engine, clock: FakeClock) -> None:
    first, second = engine.store, engine.another()
    _enqueue(first, clock, "bad", 10)
    _put(first, clock, "bad", BreakerState.HALF_OPEN)

    found = [
        *first.work.exchange(Batch(), a_request("w1"), clock.now()).leases,
        *second.work.exchange(Batch(), a_request("w2"), clock.now()).leases,
    ]

    assert len(found) == 1


def test_a_change_that_somebody_else_made_first_is_not_undone(store: Store, clock: FakeClock) -> None:
    old = _put(store, clock, "bad", BreakerState.OPEN)
    assert store.remedies.put_breaker(replace(old, state=BreakerState.HALF_OPEN), instead_of=old)

    assert not store.remedies.put_breaker(replace(old, state=BreakerState.CLOSED), instead_of=old)
    assert not store.remedies.put_breaker(old, instead_of=None)
    assert store.remedies.breaker("bad").state is BreakerState.HALF_OPEN  # type: ignore[union-attr]


def test_a_breaker_is_read_as_it_was_written(store: Store, clock: FakeClock) -> None:
    written = Breaker("bad", BreakerState.OPEN, clock.now(), "why", "ada", clock.now() - 5, 3, clock.now() + 60, None)
    other = Breaker("a", BreakerState.PROBING, clock.now(), probe_task_id=7)
    assert store.remedies.put_breaker(written, instead_of=None)
    assert store.remedies.put_breaker(other, instead_of=None)

    assert store.remedies.breakers() == [other, written]
    assert store.remedies.breaker("nothing") is None


def test_acts_are_counted_and_written_to_the_audit_log(store: Store, clock: FakeClock) -> None:
    entry = AuditEntry("remediation", "remediation.reclaim", clock.now(), "w1", {"why": "lost"}, 3, via="system")
    store.remedies.note("reclaim", 3, entry, clock.now())
    store.remedies.note("reclaim", 4, None, clock.advance(10))
    store.remedies.note("restart", 0, None, clock.now())

    assert store.remedies.totals() == [
        ActTotal("reclaim", 2, 7, clock.now()), ActTotal("restart", 1, 0, clock.now())
    ]  # fmt: skip
    [found] = store.audit.find(action="remediation")
    assert (found.actor, found.target, found.tasks, found.via) == ("remediation", "w1", 3, "system")


def test_waiting_tasks_are_found_from_either_end(store: Store, clock: FakeClock) -> None:
    low = _enqueue(store, clock, "job", 3, priority=200)
    high = _enqueue(store, clock, "job", 3, priority=5)
    _enqueue(store, clock, "job", 3, queue="other")

    assert list(store.remedies.waiting_ids("default", 4, lowest=False)) == [*low, high[0]]
    assert list(store.remedies.waiting_ids("default", 4, lowest=True)) == [*reversed(low), high[-1]]
    assert list(store.remedies.waiting_ids("nothing", 4, lowest=True)) == []
