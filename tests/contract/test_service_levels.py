"""Service levels over days, from each store's books."""

from __future__ import annotations

import pytest

from prismq.config.alerts import SloConfig
from prismq.observability.slo.report import Days, statuses
from prismq.storage.contract import Store
from tests.helpers.builders import a_task, claim, complete, dead_letter
from tests.helpers.clock import FakeClock

DAY_S = 86_400.0


def some_end(store: Store, clock: FakeClock, good: int, bad: int) -> None:
    store.inbox.enqueue_many([a_task() for _ in range(good + bad)], clock.now())
    for number, lease in enumerate(claim(store, clock, limit=good + bad)):
        (complete if number < good else dead_letter)(store, clock, lease)


def test_each_day_is_counted_for_itself_and_the_window_is_their_sum(store: Store, clock: FakeClock) -> None:
    config = SloConfig(window_days=3, success_objective=0.9)
    clock.advance(-(clock.now() % DAY_S) + 3600)
    for good, bad in ((5, 5), (9, 1), (20, 0), (9, 1)):  # the first is before the window
        some_end(store, clock, good, bad)
        clock.advance(DAY_S)
        store.upkeep.fold(clock.now())
    clock.advance(-DAY_S)
    kept: Days = {}
    for _ in range(2):  # the second time from what was kept
        success = next(one for one in statuses(store, config, clock.now(), kept=kept) if one.level.name == "success")
        assert [(day.good, day.total) for day in success.days] == [(9, 10), (20, 20), (9, 10)]
        assert (success.counted.good, success.counted.total) == (38, 40)
        assert success.spent == pytest.approx(0.5)
        assert success.state == "kept"
        assert {day for level, day in kept if level.name == "success"} == {day.at for day in success.days[:2]}


def test_days_that_left_the_window_are_not_kept(store: Store, clock: FakeClock) -> None:
    config, kept = SloConfig(window_days=2), {}  # type: ignore[var-annotated]
    statuses(store, config, clock.now(), kept=kept)
    clock.advance(10 * DAY_S)
    statuses(store, config, clock.now(), kept=kept)
    assert min(day for _, day in kept) >= clock.now() - 2 * DAY_S
