"""The formulas against brute force: sums over the states of the chain, known values, and a simulation."""

from __future__ import annotations

import heapq
import math
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prismq.domain.errors import InvalidArgument
from prismq.domain.queueing import (
    erlang_b,
    erlang_c,
    mean_wait_s,
    offered_load,
    part_within,
    slots_for,
    wait_s,
)

loads = st.floats(0.01, 60)
slot_numbers = st.integers(1, 80)
times = st.floats(0.001, 500)
parts = st.floats(0.5, 0.999)


def _by_states(slots: int, load: float) -> tuple[float, float]:
    """Erlang B and C straight from the stationary probabilities of the birth-and-death chain."""
    logs = [n * math.log(load) - math.lgamma(n + 1) for n in range(slots + 1)]
    most = max(logs)
    weights = [math.exp(one - most) for one in logs]
    blocked = weights[-1] / sum(weights)
    if load >= slots:
        return blocked, 1.0
    tail = weights[-1] / (1 - load / slots)  # the geometric series of the states with all slots busy
    return blocked, tail / (sum(weights[:-1]) + tail)


@given(slot_numbers, loads)
def test_the_recursions_equal_the_sums_over_all_states(slots: int, load: float) -> None:
    blocked, waits = _by_states(slots, load)

    assert erlang_b(slots, load) == pytest.approx(blocked, rel=1e-9, abs=1e-300)
    assert erlang_c(slots, load) == pytest.approx(waits, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize(
    ("slots", "load", "blocked", "waits"),
    [
        # One server: B = a / (1 + a), and C is its utilisation.
        (1, 0.5, 1 / 3, 0.5),
        # Two servers: B = a² / (2 + 2a + a²), C = 2 u² / (1 + u) with u = a / 2.
        (2, 1.0, 0.2, 1 / 3),
        # Printed tables of telephone engineering: 10 trunks at 5 erlangs, 20 at 12.
        (10, 5.0, 0.018385, 0.036105),
        (20, 12.0, 0.009796, 0.024120),
    ],
)
def test_known_values(slots: int, load: float, blocked: float, waits: float) -> None:
    assert erlang_b(slots, load) == pytest.approx(blocked, rel=1e-3)
    assert erlang_c(slots, load) == pytest.approx(waits, rel=1e-3)


@given(loads, times, times, parts, st.floats(0.5, 20))
def test_the_slots_found_are_enough_and_one_fewer_is_not(
    load: float, service_s: float, target_s: float, part: float, variability: float
) -> None:
    slots = slots_for(load, service_s, target_s, part, variability)

    assert slots > load
    assert part_within(target_s, slots, load, service_s, variability) >= part - 1e-12
    if slots > 1:
        assert part_within(target_s, slots - 1, load, service_s, variability) < part


@given(loads, slot_numbers, times, parts, st.floats(0.5, 20))
def test_a_quantile_and_the_part_within_it_agree(
    load: float, slots: int, service_s: float, part: float, variability: float
) -> None:
    assume(slots > load * 1.000001)
    wait = wait_s(part, slots, load, service_s, variability)

    if wait == 0:
        assert 1 - erlang_c(slots, load) >= part - 1e-12
    else:
        assert part_within(wait, slots, load, service_s, variability) == pytest.approx(part, rel=1e-6)


@given(loads, slot_numbers, times)
def test_one_slot_more_never_makes_anybody_wait_longer(load: float, slots: int, service_s: float) -> None:
    assert erlang_c(slots + 1, load) <= erlang_c(slots, load) + 1e-12
    assert mean_wait_s(slots + 1, load, service_s) <= mean_wait_s(slots, load, service_s) * (1 + 1e-9)


@given(slot_numbers, st.floats(0, 1), times)
def test_slots_that_cannot_keep_up_make_all_wait_for_ever(slots: int, more: float, service_s: float) -> None:
    load = slots + more

    assert erlang_c(slots, load) == 1.0
    assert wait_s(0.95, slots, load, service_s) == math.inf
    assert mean_wait_s(slots, load, service_s) == math.inf
    assert part_within(1e9, slots, load, service_s) == 0.0


def test_nothing_to_do_means_nobody_waits() -> None:
    assert slots_for(0.0, 5.0, 1.0, 0.95) == 1
    assert wait_s(0.99, 1, 0.0, 5.0) == 0.0
    assert mean_wait_s(1, 0.0, 5.0) == 0.0
    assert part_within(0.0, 1, 0.0, 5.0) == 1.0


@pytest.mark.parametrize(("rate", "service"), [(-1, 1), (1, -1), (math.nan, 1), (1, math.inf), (math.inf, 0)])
def test_a_load_that_is_none_is_refused(rate: float, service: float) -> None:
    with pytest.raises(InvalidArgument):
        offered_load(rate, service)


@pytest.mark.parametrize(
    ("slots", "rate", "shape", "tolerance"),
    [
        (1, 0.7, "exponential", 0.06),
        (4, 3.2, "exponential", 0.06),
        (4, 3.2, "constant", 0.12),
        (10, 8.5, "mixed", 0.25),
    ],
)
def test_the_waits_are_those_of_a_simulated_queue(
    slots: int, rate: float, shape: str, tolerance: float, seed: int
) -> None:
    """Exact for exponential times; within what Allen and Cunneen claim for their approximation otherwise."""
    rng = Random(seed)
    # All with a mean of 1. Mixed: one in ten takes 5.5, nine take 0.5, so that cs² is 2.25.
    draw = {
        "exponential": lambda: rng.expovariate(1.0),
        "constant": lambda: 1.0,
        "mixed": lambda: 5.5 if rng.random() < 0.1 else 0.5,
    }[shape]
    variability = {"exponential": 1.0, "constant": 0.5, "mixed": (1 + 2.25) / 2}[shape]
    free, at, waited, number = [0.0] * slots, 0.0, 0.0, 400_000
    for _ in range(number):
        at += rng.expovariate(rate)
        start = max(at, free[0])
        heapq.heapreplace(free, start + draw())
        waited += start - at

    assert mean_wait_s(slots, rate, 1.0, variability) == pytest.approx(waited / number, rel=tolerance)
