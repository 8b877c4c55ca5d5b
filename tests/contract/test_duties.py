"""Duties: one holder at a time, and the next takes over."""

from __future__ import annotations

from threading import Barrier, Thread

from prismq.storage.contract import Duty, Store
from tests.helpers.clock import START, FakeClock
from tests.helpers.engines import Engine


def test_a_duty_is_held_by_one_until_its_time_is_over(store: Store, clock: FakeClock) -> None:
    assert store.duties.take("alerts", "a", 30, clock.now())
    assert not store.duties.take("alerts", "b", 30, clock.advance(29.9))
    assert store.duties.take("alerts", "b", 30, clock.advance(0.1)), "the boundary itself counts as over"
    assert not store.duties.take("alerts", "a", 30, clock.now())


def test_taking_it_again_keeps_it_and_remembers_since_when(store: Store, clock: FakeClock) -> None:
    store.duties.take("alerts", "a", 30, clock.now())
    assert store.duties.take("alerts", "a", 30, clock.advance(20))
    assert store.duties.all(clock.now()) == [Duty("alerts", "a", 0, START, START + 50)]
    clock.advance(100)
    assert store.duties.all(clock.now()) == []
    assert store.duties.take("alerts", "a", 30, clock.now())
    assert store.duties.all(clock.now())[0].since == START + 120, "in between it was nobody's"


def test_a_higher_rank_takes_over_at_once_and_a_lower_one_waits(store: Store, clock: FakeClock) -> None:
    store.duties.take("alerts", "plain", 30, clock.now())
    assert store.duties.take("alerts", "with channels", 30, clock.now(), rank=1)
    assert not store.duties.take("alerts", "plain", 30, clock.now())
    assert not store.duties.take("alerts", "another with channels", 30, clock.now(), rank=1)
    assert store.duties.take("alerts", "plain", 30, clock.advance(30))


def test_duties_are_apart(store: Store, clock: FakeClock) -> None:
    assert store.duties.take("alerts", "a", 30, clock.now())
    assert store.duties.take("scaling", "b", 30, clock.now())
    assert [duty.name for duty in store.duties.all(clock.now())] == ["alerts", "scaling"]


def test_only_the_holder_gives_a_duty_back(store: Store, clock: FakeClock) -> None:
    store.duties.take("alerts", "a", 30, clock.now())
    assert not store.duties.give_back("alerts", "b")
    assert store.duties.give_back("alerts", "a")
    assert store.duties.take("alerts", "b", 30, clock.now())


def test_of_many_who_ask_at_once_one_gets_it(engine: Engine, clock: FakeClock) -> None:
    barrier, got = Barrier(6), []

    def ask(name: str) -> None:
        store = engine.another()
        barrier.wait()
        if store.duties.take("alerts", name, 30, clock.now()):
            got.append(name)
        store.close()

    threads = [Thread(target=ask, args=(f"process {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
