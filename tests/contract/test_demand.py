"""What is asked of each queue, from the books, and the advice that is made of it: on every engine."""

from __future__ import annotations

from random import Random

import pytest

from prismq.config.alerts import SloConfig
from prismq.domain.errors import InvalidArgument
from prismq.domain.promise import Promise
from prismq.observability.remediation.by_hand import open_breaker
from prismq.observability.scaling.advice import advise
from prismq.observability.scaling.simulator import day_of, replay
from prismq.storage.contract import Store
from prismq.storage.demand import demands
from tests.helpers.builders import a_report, a_task, a_worker, claim, claim_one, complete, retry_later
from tests.helpers.clock import FakeClock


def _work(store: Store, clock: FakeClock, queue: str, number: int, seconds: float) -> None:
    for _ in range(number):
        store.inbox.enqueue(a_task(queue=queue), clock.now())
    for lease in claim(store, clock, limit=number, queues=(queue,)):
        complete(store, clock, lease, started_at=clock.now() - seconds)


def test_rates_times_and_backlog_of_each_queue(store: Store, clock: FakeClock) -> None:
    clock.advance(60 - clock.now() % 60)
    _work(store, clock, "mail", 60, 2.0)
    store.inbox.enqueue(a_task(queue="mail"), clock.now())
    clock.advance(30)
    claim_one(store, clock, queues=("mail",))
    store.inbox.enqueue(a_task(queue="mail"), clock.now())
    store.inbox.enqueue(a_task(queue="idle"), clock.now())
    clock.advance(20)
    store.upkeep.book(clock.now())

    found = demands(store, clock.now())

    mail = found["mail"]
    # 62 came in this minute; the window of a minute reaches into the one before, which is empty.
    assert mail.arrivals_per_s == pytest.approx(62 / 110)
    assert mail.service_s == pytest.approx(2.0, rel=0.03)
    assert mail.variability == pytest.approx(0.5, rel=0.01)  # all alike
    assert (mail.waiting, mail.running) == (1, 1)
    assert mail.oldest_s == pytest.approx(20)
    assert found["idle"].service_s is None
    assert set(demands(store, clock.now(), queues=["idle"])) == {"idle"}


def test_the_service_time_is_of_the_last_ten_minutes_where_these_say_enough(store: Store, clock: FakeClock) -> None:
    _work(store, clock, "mail", 100, 1.0)
    _work(store, clock, "rare", 1, 8.0)
    clock.advance(1800)
    _work(store, clock, "mail", 20, 3.0)
    found = demands(store, clock.now())
    assert found["mail"].service_s == pytest.approx(160 / 120, rel=0.03)  # of the last hour
    assert found["rare"].service_s == pytest.approx(8.0, rel=0.03)

    _work(store, clock, "mail", 80, 3.0)
    assert demands(store, clock.now())["mail"].service_s == pytest.approx(3.0, rel=0.03)
    clock.advance(3 * 3600)
    found = demands(store, clock.now())  # of the last day
    assert [found[name].service_s for name in ("mail", "rare")] == pytest.approx([2.0, 8.0], rel=0.03)


def test_a_retry_is_one_more_attempt_to_serve(store: Store, clock: FakeClock) -> None:
    clock.advance(60 - clock.now() % 60)
    store.inbox.enqueue(a_task(queue="mail"), clock.now())
    retry_later(store, clock, claim_one(store, clock), 1.0, started_at=clock.now() - 4)
    clock.advance(59)

    [found] = demands(store, clock.now()).values()

    assert found.arrivals_per_s == pytest.approx(2 / 119)
    assert found.service_s == pytest.approx(4.0, rel=0.03)


def test_the_rate_rises_at_once_and_falls_slowly(store: Store, clock: FakeClock) -> None:
    clock.advance(60 - clock.now() % 60)
    _work(store, clock, "mail", 100, 1.0)
    clock.advance(50)
    rates = [demands(store, clock.now())["mail"].arrivals_per_s]
    for _ in range(5):
        clock.advance(60)
        rates.append(demands(store, clock.now())["mail"].arrivals_per_s)

    assert rates[0] == pytest.approx(100 / 110)
    assert rates[2] == pytest.approx(100 / 350)  # by the window of five minutes alone
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(100 / 350)
    clock.advance(60)
    assert demands(store, clock.now())["mail"].arrivals_per_s == 0


def test_a_paused_queue_asks_for_nothing_and_a_limited_one_for_no_more_than_its_limit(
    store: Store, clock: FakeClock
) -> None:
    _work(store, clock, "paused", 50, 1.0)
    _work(store, clock, "limited", 50, 10.0)
    for _ in range(500):
        store.inbox.enqueue(a_task(queue="limited"), clock.now())
    store.queues.pause("paused", "ada", clock.now())
    store.queues.limit("limited", 3)
    clock.advance(10)

    report = advise(store, clock.now())

    assert [one.queues for one in report.queues] == [("limited",)]
    assert report.queues[0].size.slots == 3
    assert report.all.size.slots <= 4


def test_what_a_breaker_keeps_does_not_wait_for_slots(store: Store, clock: FakeClock) -> None:
    _work(store, clock, "mail", 10, 1.0)
    for number in range(500):
        store.inbox.enqueue(a_task("kept" if number % 5 else "job", queue="mail"), clock.now())
    store.upkeep.book(clock.now())
    before = demands(store, clock.now())["mail"].waiting
    open_breaker(store, clock.now(), "kept", by="ada", via="cli")

    assert (before, demands(store, clock.now())["mail"].waiting) == (500, 100)


def test_advice_says_whether_what_serves_a_queue_is_enough(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker("w1", slots=8, queues='["within_5_seconds"]'), clock.now())
    store.workers.heartbeat(a_report("w1", slots=8, busy=2), clock.now())
    _work(store, clock, "within_5_seconds", 600, 4.0)
    _work(store, clock, "night", 1, 4.0)
    clock.advance(1)

    report = advise(store, clock.now(), default=Promise(3600.0))
    by_name = {one.queues[0]: one for one in report.queues}
    fast, night = by_name["within_5_seconds"], by_name["night"]

    assert (fast.promise.target_s, fast.promised_by) == (5.0, "name")
    assert (night.promise.target_s, night.promised_by) == (3600.0, "setting")
    assert fast.verdict == "more"
    assert (fast.slots_now, fast.busy_now) == (8, 2)
    assert night.slots_now == 0
    assert "none serves it" in night.sentence
    told = fast.to_dict()
    assert told["keeps_up"] is False
    assert told["wait_seconds"] is None
    assert told["slots_wanted"] > told["load_slots"] > 8
    assert report.to_dict()["together"]["slots_wanted"] >= told["slots_wanted"] - 1


def test_what_the_settings_promise_goes_before_the_name(store: Store, clock: FakeClock) -> None:
    promises = SloConfig(promises={"media": 7, "within_1_hour": {"target_seconds": 9, "objective": 0.999}}).promises
    for queue in ("media", "within_1_hour", "within_5_minutes", "mail"):
        _work(store, clock, queue, 1, 1.0)

    report = advise(store, clock.now(), default=Promise(30.0), promises=promises)

    assert {one.queues[0]: (*one.promise, one.promised_by) for one in report.queues} == {
        "media": (7.0, 0.95, "setting"), "within_1_hour": (9.0, 0.999, "setting"),
        "within_5_minutes": (300.0, 0.95, "name"), "mail": (30.0, 0.95, "setting"),
    }  # fmt: skip
    assert (report.all.promise, report.all.promised_by) == (Promise(7.0, 0.999), "setting")


def test_an_empty_queue_is_no_reason_for_advice(store: Store, clock: FakeClock) -> None:
    report = advise(store, clock.now())

    assert report.queues == ()
    assert (report.all.verdict, report.all.size.slots) == ("unknown", 1)
    assert "nothing to measure" in report.all.sentence


def test_a_day_is_replayed_from_the_books(store: Store, clock: FakeClock) -> None:
    clock.advance(600 - clock.now() % 600)
    _work(store, clock, "mail", 120, 5.0)
    clock.advance(3600)
    _work(store, clock, "mail", 60, 5.0)
    _work(store, clock, "other", 7, 5.0)
    clock.advance(300)

    day = day_of(store, clock.now(), queues=["mail"])
    found = replay(day, 1, Random(1))

    assert len(day) == 144
    assert [one.arrivals for one in day if one.arrivals] == [120, 60]
    assert found.tasks == 180
    assert found.utilisation == pytest.approx(180 * 5 / 86_400, rel=0.03)
    assert found.wait_max_s is not None
    assert found.wait_max_s > 5
    assert sum(one.arrivals for one in day_of(store, clock.now())) == 187


@pytest.mark.parametrize("seconds", [0, 599, 8 * 86_400, float("nan")])
def test_what_is_no_day_is_refused(store: Store, clock: FakeClock, seconds: float) -> None:
    with pytest.raises(InvalidArgument):
        day_of(store, clock.now(), seconds=seconds)
