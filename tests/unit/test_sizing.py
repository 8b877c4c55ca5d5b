"""What is asked of a queue, and the slots that it needs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.config.alerts import SloConfig
from prismq.domain.errors import InvalidArgument
from prismq.domain.promise import Promise, named_promise_s, own_promise, promise_of, strictest
from prismq.domain.queueing import part_within
from prismq.domain.sizing import Demand, drain_s, size_for, together, wait_with

STEADY = Demand(arrivals_per_s=3.2, service_s=1.0)
A_MINUTE = Promise(60.0, 0.95)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("within_30_seconds", 30), ("within_5_minutes", 300), ("within_1_hour", 3600), ("mail-within-2-days", 172_800),
        ("Within_1_Minute", 60), ("media.within_10_minutes.eu", 600), ("default", None), ("within_minutes", None),
        ("without_5_minutes", None), ("herewithin_5_minutes", None), ("within_5_minutesque", None),
        ("within_0_seconds", None), ("within_999999_days", None),
    ],
)  # fmt: skip
def test_a_queue_is_named_by_its_promise(name: str, seconds: float | None) -> None:
    assert named_promise_s(name) == seconds


def test_a_queue_that_promises_nothing_has_the_setting() -> None:
    assert promise_of("default", Promise(5, 0.99)) == Promise(5, 0.99)
    assert promise_of("within_1_hour", Promise(5, 0.99)) == Promise(3600, 0.99)
    assert promise_of("default") == Promise(60.0, 0.95)


def test_a_setting_goes_before_the_name_and_that_before_the_default() -> None:
    promises = SloConfig(
        promises={"media": 7, "within_1_hour": {"target_seconds": 10, "objective": 0.999}, "lax": 1e6}
    ).promises

    assert promise_of("media", Promise(5, 0.9), promises) == Promise(7, 0.9)
    assert promise_of("within_1_hour", Promise(5, 0.9), promises) == Promise(10, 0.999)
    assert promise_of("within_2_hours", Promise(5, 0.9), promises) == Promise(7200, 0.9)
    assert promise_of("mail", Promise(5, 0.9), promises) == Promise(5, 0.9)
    assert own_promise("mail", promises) is None


@pytest.mark.parametrize(("objective", "part"), [(0.000001, 0.5), (0.999999, 0.9999)])
def test_an_objective_that_no_formula_takes_is_the_nearest_that_it_does(objective: float, part: float) -> None:
    promises = SloConfig(promises={"a": {"target_seconds": 1, "objective": objective}}).promises

    assert own_promise("a", promises) == Promise(1, part)


def test_the_strictest_promise_holds_for_all() -> None:
    assert strictest([Promise(5, 0.9), Promise(60, 0.99)]) == Promise(5, 0.99)
    assert strictest([], Promise(5, 0.9)) == Promise(5, 0.9)


@pytest.mark.parametrize(("target_s", "part"), [(0, 0.9), (-1, 0.9), (1e9, 0.9), (5, 0.3), (5, 1.0), (math.nan, 0.9)])
def test_a_promise_that_is_none_is_refused(target_s: float, part: float) -> None:
    with pytest.raises(InvalidArgument):
        Promise.of(target_s, part)


def test_littles_law_is_the_floor_and_the_promise_wants_more() -> None:
    strict = size_for(STEADY, Promise(0.1, 0.99))
    easy = size_for(STEADY, A_MINUTE)

    assert easy.floor == strict.floor == 4
    assert easy.slots == easy.steady == 4
    assert strict.slots == strict.steady > 4
    assert part_within(0.1, strict.slots, 3.2, 1.0) >= 0.99


def test_a_backlog_is_to_be_gone_within_the_target_beside_what_arrives() -> None:
    backlog = replace(STEADY, waiting=600)

    size = size_for(backlog, A_MINUTE)

    assert size.catch_up == size.slots == math.ceil(3.2 + 600 / 60)
    assert drain_s(size.slots, backlog) <= 60  # type: ignore[operator]


def test_a_backlog_of_a_queue_in_a_hurry_gets_half_a_minute() -> None:
    assert size_for(replace(STEADY, waiting=300), Promise(1.0, 0.95)).catch_up == math.ceil(3.2 + 300 / 30)


def test_where_nobody_knows_how_long_tasks_take_what_runs_is_kept_and_one_added_when_they_wait_too_long() -> None:
    unknown = Demand(arrivals_per_s=5.0, running=3, waiting=20, oldest_s=10.0)

    assert size_for(unknown, A_MINUTE).slots == 3
    assert size_for(replace(unknown, oldest_s=61.0), A_MINUTE).slots == 4
    assert size_for(Demand(), A_MINUTE).slots == 1
    assert wait_with(3, unknown, A_MINUTE) is None
    assert drain_s(3, unknown) is None


def test_slots_below_the_load_never_drain_and_never_hold() -> None:
    backlog = replace(STEADY, waiting=1)

    assert drain_s(3, backlog) == math.inf
    assert wait_with(3, backlog, A_MINUTE) == math.inf
    assert drain_s(0, STEADY) == 0.0


demands = st.builds(
    Demand,
    arrivals_per_s=st.floats(0, 1e4),
    service_s=st.none() | st.floats(0, 1e5),
    variability=st.floats(0.5, 50),
    waiting=st.integers(0, 10**7),
    running=st.integers(0, 10**4),
    oldest_s=st.none() | st.floats(0, 1e6),
)


@given(demands, st.floats(0.01, 1e5), st.sampled_from([0.5, 0.95, 0.999]))
def test_any_demand_gets_a_size_that_obeys_every_rule(demand: Demand, target_s: float, part: float) -> None:
    size = size_for(demand, Promise(target_s, part))

    assert 1 <= size.slots <= 256_000
    assert size.slots == min(256_000, max(size.floor, size.steady, size.catch_up))


@given(st.lists(demands, min_size=1, max_size=6))
def test_queues_together_have_the_sum_of_what_is_asked(found: list[Demand]) -> None:
    whole = together(found)

    known = [one for one in found if one.service_s is not None]
    assert whole.arrivals_per_s == pytest.approx(sum(one.arrivals_per_s for one in known or found))
    assert whole.waiting == sum(one.waiting for one in found)
    if all(one.service_s is not None for one in found) and whole.load < 9e4:
        assert whole.load == pytest.approx(sum(one.arrivals_per_s * (one.service_s or 0) for one in found), rel=1e-6)


def test_short_and_long_tasks_together_vary_more_than_either() -> None:
    short, long = Demand(1.0, 0.1, 0.5), Demand(1.0, 10.0, 0.5)

    whole = together([short, long])

    assert whole.service_s == pytest.approx(5.05)
    # cs² of an even mixture of two constants: (m2 - m²) / m².
    m2 = (0.01 + 100) / 2
    assert whole.variability == pytest.approx(m2 / (2 * 5.05**2))


def test_long_tasks_that_none_has_finished_keep_their_slots_beside_those_that_are_measured() -> None:
    measured, unknown = Demand(3.2, 1.0), Demand(arrivals_per_s=0.01, running=5)

    whole = together([measured, unknown])

    assert whole.load == pytest.approx(8.2)
    assert size_for(whole, A_MINUTE).slots == size_for(measured, A_MINUTE).slots + 5
    assert wait_with(9, whole, A_MINUTE) == wait_with(4, measured, A_MINUTE)
    assert together([unknown]).load == 5.0


def test_a_queue_with_a_limit_wants_no_more_than_that_alone_or_with_others() -> None:
    limited = Demand(20.0, 1.0, waiting=5000, limit=3)

    assert size_for(limited, A_MINUTE).slots == 3
    assert size_for(together([limited, STEADY]), A_MINUTE).slots <= 3 + size_for(STEADY, A_MINUTE).slots + 1
