from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.errors import InvalidArgument
from prismq.domain.sketch import (
    BIN_MAX,
    BIN_MIN,
    RELATIVE_ERROR,
    VALUE_S_MAX,
    VALUE_S_MIN,
    Sketch,
    bin_of,
    merge_json,
    value_of,
)

durations = st.floats(VALUE_S_MIN, VALUE_S_MAX)
samples = st.lists(durations, min_size=1, max_size=200)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value_s in values:
        sketch.add(value_s)
    return sketch


@given(durations)
def test_a_bin_stands_for_its_values_within_two_percent(value_s: float) -> None:
    assert abs(value_of(bin_of(value_s)) - value_s) <= RELATIVE_ERROR * value_s * (1 + 1e-9)


@given(durations, durations)
def test_a_longer_time_is_never_in_a_lower_bin(one: float, other: float) -> None:
    assert (bin_of(one) <= bin_of(other)) or one > other


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_a_bin_within_the_bounds(value_s: float) -> None:
    assert BIN_MIN <= bin_of(value_s) <= BIN_MAX


@pytest.mark.parametrize("value_s", [0, -1, 1e-6, 1e-300, -math.inf, math.nan])
def test_what_is_too_short_to_measure_is_in_the_lowest_bin(value_s: float) -> None:
    assert bin_of(value_s) == BIN_MIN


@pytest.mark.parametrize("value_s", [1e8, 1e9, math.inf])
def test_what_is_longer_than_anything_is_in_the_highest_bin(value_s: float) -> None:
    assert bin_of(value_s) == BIN_MAX


@given(samples, st.floats(0, 1))
def test_a_quantile_is_within_two_percent_of_the_value_at_its_rank(values: list[float], q: float) -> None:
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    estimate = sketch_of(values).quantile(q)
    assert estimate is not None
    assert abs(estimate - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)


@given(samples, samples)
def test_merging_sketches_is_sketching_everything(one: list[float], other: list[float]) -> None:
    merged = sketch_of(one)
    merged.merge(sketch_of(other))
    assert merged.bins == sketch_of(one + other).bins
    assert merged.count == len(one) + len(other)


@given(st.none() | samples, st.none() | samples)
def test_merging_text_is_merging_sketches(one: list[float] | None, other: list[float] | None) -> None:
    a, b = (None if values is None else sketch_of(values).to_json() for values in (one, other))
    merged = Sketch.from_json(merge_json(a, b))
    assert merged.bins == sketch_of([*(one or []), *(other or [])]).bins


@given(samples)
def test_json_brings_back_the_same_counts(values: list[float]) -> None:
    sketch = sketch_of(values)
    text = sketch.to_json()
    assert Sketch.from_json(text).bins == sketch.bins
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "5", '{"a": 1}', '{"1": "x"}', '{"1": -1}', '{"99999": 1}'])
def test_text_that_is_no_sketch_is_an_empty_one(text: str | None) -> None:
    assert Sketch.from_json(text).count == 0
    assert merge_json(text, '{"1":2}') == '{"1":2}'
    assert merge_json('{"1":2}', text) == '{"1":2}'


@given(st.text())
def test_no_text_at_all_breaks_a_merge(text: str) -> None:
    assert isinstance(merge_json(text, text), str)


def test_an_empty_sketch_has_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None


@pytest.mark.parametrize("q", [-0.1, 1.1, 95, math.nan])
def test_a_quantile_is_a_fraction_not_a_percentage(q: float) -> None:
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        Sketch().quantile(q)


def test_a_value_can_be_counted_many_times_at_once() -> None:
    sketch = Sketch()
    sketch.add(1.0, 999)
    sketch.add(60.0)
    assert sketch.count == 1000
    assert sketch.quantile(0.5) == pytest.approx(1.0, rel=0.0201)
    assert sketch.quantile(1) == pytest.approx(60.0, rel=0.0201)


def test_a_sketch_never_has_more_than_some_eight_hundred_bins() -> None:
    assert BIN_MAX - BIN_MIN + 1 < 820


def test_merging_many_at_once_is_merging_them_one_by_one() -> None:
    parts = [Sketch(), Sketch(), Sketch()]
    for n in range(300):
        parts[n % 3].add(0.001 * (n + 1), n % 4 + 1)
    one_by_one = Sketch()
    for part in parts:
        one_by_one.merge(part)

    assert Sketch.merged(part.to_json() for part in parts).bins == one_by_one.bins
    assert Sketch.merged([None, "", parts[0].to_json(), None]).bins == parts[0].bins
    assert Sketch.merged([]).bins == {}


@pytest.mark.parametrize("seconds", [0.0, 1e-7, 0.02, value_of(bin_of(0.5)), 0.5, 1e9, math.inf])
def test_what_is_within_a_time_is_what_stands_for_it(seconds: float) -> None:
    sketch = sketch_of([0.001 * n * n for n in range(1, 60)])
    assert sketch.count_within(seconds) == sum(n for number, n in sketch.bins.items() if value_of(number) <= seconds)


@pytest.mark.parametrize(
    "strange", ["{", "[]", "7", '{"1": -1}', '{"1": 0.5}', '{"x": 1}', '{"99999": 1}', "{}, {}", '[["1", 2]]']
)
def test_text_that_is_no_sketch_does_not_spoil_those_it_is_merged_with(strange: str) -> None:
    good = Sketch()
    good.add(1.0, 5)
    assert Sketch.merged([good.to_json(), strange, good.to_json()]).count == 10
    assert Sketch.merged([strange, good.to_json()]).count == 5
