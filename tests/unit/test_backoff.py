from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.backoff import Backoff
from prismq.domain.errors import InvalidArgument

backoffs = st.builds(
    Backoff,
    initial_s=st.floats(0, 1e6),
    multiplier=st.floats(1, 1e6) | st.integers(1, 1_000_000),
    cap_s=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)


def test_without_jitter_the_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(jitter=0)
    delays = [backoff.delay_s(attempt, Random(0)) for attempt in range(1, 12)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(backoffs, st.integers(-5, 10_000_000), st.integers())
def test_the_delay_never_exceeds_the_cap_and_its_jitter(backoff: Backoff, attempt: int, seed: int) -> None:
    delay_s = backoff.delay_s(attempt, Random(seed))
    assert 0 <= delay_s <= backoff.cap_s * (1 + backoff.jitter) * (1 + 1e-9)


@given(backoffs, st.integers(1, 50), st.integers())
def test_the_delay_is_within_the_jitter_of_the_formula(backoff: Backoff, attempt: int, seed: int) -> None:
    exact_s = min(backoff.cap_s, backoff.initial_s * float(backoff.multiplier) ** (attempt - 1))
    delay_s = backoff.delay_s(attempt, Random(seed))
    assert exact_s * (1 - backoff.jitter) * (1 - 1e-9) <= delay_s
    assert delay_s <= exact_s * (1 + backoff.jitter) * (1 + 1e-9)


@given(backoffs, st.integers(1, 2000))
def test_without_jitter_a_later_attempt_never_waits_less(backoff: Backoff, attempt: int) -> None:
    steady = Backoff(backoff.initial_s, backoff.multiplier, backoff.cap_s, jitter=0)
    assert steady.delay_s(attempt + 1, Random(0)) >= steady.delay_s(attempt, Random(0))


@pytest.mark.parametrize("attempt", [1024, 1025, 1026, 10_000_000])
def test_an_exponent_beyond_floating_point_is_the_cap(attempt: int) -> None:
    assert Backoff(jitter=0).delay_s(attempt, Random(0)) == 300


def test_an_initial_delay_of_nothing_stays_nothing_however_late_the_attempt() -> None:
    assert Backoff(initial_s=0).delay_s(100_000, Random(0)) == 0


def test_jitter_spreads_tasks_that_failed_together() -> None:
    rng = Random(1)
    assert len({Backoff().delay_s(5, rng) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("initial_s", -1),
        ("initial_s", float("nan")),
        ("initial_s", "1"),
        ("multiplier", 0.5),
        ("multiplier", float("inf")),
        ("cap_s", -0.1),
        ("cap_s", float("inf")),
        ("jitter", 1.1),
        ("jitter", None),
        ("jitter", True),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=rf"{field} must be a number from .* not {value!r}"):
        Backoff(**{field: value})


@given(backoffs)
def test_json_brings_back_the_same_backoff(backoff: Backoff) -> None:
    assert Backoff.from_json(backoff.to_json()) == backoff


def test_json_is_compact_and_names_the_fields() -> None:
    assert Backoff().to_json() == '{"initial_s":1.0,"multiplier":2.0,"cap_s":300.0,"jitter":0.1}'


def test_fields_left_out_by_hand_keep_their_defaults() -> None:
    assert Backoff.from_json('{"initial_s": 5}') == Backoff(initial_s=5)


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "3", "null", '{"initial_s": -1}', '{"wait": 3}', "[" * 100_000, "exponential"],
)
def test_text_that_is_no_backoff_gives_the_default(text: str | None) -> None:
    assert Backoff.from_json(text) == Backoff()


@given(st.text())
def test_no_text_at_all_stops_a_worker(text: str) -> None:
    assert isinstance(Backoff.from_json(text), Backoff)
