"""A day replayed with another number of slots."""

from __future__ import annotations

from random import Random

import pytest

from prismq.domain.errors import InvalidArgument
from prismq.domain.promise import Promise
from prismq.domain.queueing import wait_s
from prismq.domain.sketch import Sketch
from prismq.observability.scaling.simulator import TASKS_MAX, Stretch, replay


def _of(*seconds: float) -> Sketch:
    sketch = Sketch()
    for one in seconds:
        sketch.add(one)
    return sketch


def _exponential(rng: Random) -> Sketch:
    return _of(*(rng.expovariate(1.0) for _ in range(20_000)))


def test_an_even_day_is_as_the_formula_says(seed: int) -> None:
    rng = Random(seed)
    # Three and a half tasks a second of one second each.
    day = [Stretch(index * 600.0, 600.0, 2100, _exponential(rng)) for index in range(48)]

    for slots in (4, 5):
        found = replay(day, slots, Random(seed), promise=Promise(2.0, 0.95))
        assert found.tasks == 48 * 2100
        assert found.utilisation == pytest.approx(3.5 / slots, rel=0.03)
        assert found.wait_p95_s == pytest.approx(wait_s(0.95, slots, 3.5, 1.0), rel=0.2, abs=0.05)


def test_a_burst_that_is_more_than_the_slots_can_do_drains_at_their_pace() -> None:
    # A thousand tasks of 6 s in ten minutes for 5 slots, which do 500 in that time: the other 500 take ten more.
    day = [Stretch(0.0, 600.0, 1000, _of(6.0))]

    few, enough = replay(day, 5, Random(1)), replay(day, 20, Random(1))

    assert few.drain_s == pytest.approx(600, rel=0.05)
    assert few.waiting_max == pytest.approx(500, rel=0.1)
    assert few.wait_max_s == pytest.approx(600, rel=0.1)
    assert few.wait_p50_s == pytest.approx(300, rel=0.1)
    assert few.utilisation > 0.97
    assert few.kept == pytest.approx(0.1, abs=0.05)  # those of the first minute
    assert enough.drain_s < 60
    assert enough.kept == 1.0


def test_more_slots_never_make_the_day_worse() -> None:
    day = [Stretch(index * 600.0, 600.0, 300 * (index % 3), _of(0.5, 1, 9)) for index in range(12)]

    found = [replay(day, slots, Random(3)) for slots in range(1, 12)]

    waits = [one.wait_p99_s for one in found]
    assert waits == sorted(waits, reverse=True)  # type: ignore[type-var]
    assert [one.drain_s for one in found] == sorted((one.drain_s for one in found), reverse=True)
    assert found[-1].wait_p50_s == 0.0


def test_growth_is_the_same_day_with_more_tasks() -> None:
    day = [Stretch(0.0, 600.0, 100, _of(1.0))]

    assert replay(day, 4, Random(1), growth=2.5).tasks == 250
    assert replay(day, 4, Random(1), growth=0.5).tasks == 50


def test_the_same_seed_gives_the_same_day() -> None:
    day = [Stretch(0.0, 600.0, 500, _of(1, 2, 3, 4))]

    assert replay(day, 2, Random(7)) == replay(day, 2, Random(7))


def test_a_stretch_in_which_nothing_ended_has_the_times_of_the_whole_day() -> None:
    day = [Stretch(0.0, 600.0, 100, None), Stretch(600.0, 600.0, 1, _of(60.0))]

    assert replay(day, 1, Random(1)).drain_s > 4000


def test_where_nothing_ended_nobody_knows_how_long_tasks_take() -> None:
    for nothing in (None, _of()):
        found = replay([Stretch(0.0, 600.0, 100, nothing)], 1, Random(1))

        assert found.is_unknown
        assert (found.tasks, found.service_s, found.wait_p50_s, found.kept) == (100, None, None, None)
        assert (found.utilisation, found.waiting_max, found.drain_s) == (None, None, None)


def test_the_service_time_is_told_as_it_was_replayed() -> None:
    found = replay([Stretch(0.0, 600.0, 1000, _of(2.0, 4.0))], 50, Random(1))

    assert not found.is_unknown
    assert found.service_s == pytest.approx(3.0, rel=0.05)


def test_a_stretch_whose_times_cannot_be_read_has_those_of_the_whole_day() -> None:
    day = [Stretch(0.0, 600.0, 100, _of()), Stretch(600.0, 600.0, 1, _of(60.0))]

    assert replay(day, 1, Random(1)).drain_s == pytest.approx(101 * 60 - 1200, rel=0.1)


def test_an_empty_day_has_no_waits() -> None:
    found = replay([Stretch(0.0, 600.0, 0, None)], 8, Random(1))

    assert (found.tasks, found.wait_p50_s, found.kept, found.utilisation, found.drain_s) == (0, None, None, 0.0, 0.0)


def test_a_day_of_millions_is_replayed_in_lumps_that_wait_no_shorter() -> None:
    many = TASKS_MAX * 3
    day = [Stretch(0.0, 86_400.0, many, _of(0.1))]

    found = replay(day, 1, Random(1))

    assert found.lump == 3
    assert found.tasks == many
    assert found.utilisation == pytest.approx(many * 0.1 / 86_400, rel=0.03)
    assert found.wait_p95_s >= wait_s(0.95, 1, many * 0.1 / 86_400, 0.1, 0.5) * 0.9  # type: ignore[operator]


@pytest.mark.parametrize(
    ("slots", "growth"), [(0, 1.0), (-1, 1.0), (10**9, 1.0), (1, 0.0), (1, -2.0), (1, float("nan"))]
)
def test_bad_sizes_are_refused(slots: int, growth: float) -> None:
    with pytest.raises(InvalidArgument):
        replay([], slots, Random(1), growth=growth)
