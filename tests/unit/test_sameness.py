"""Two rows are the same where they mean the same, and not otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.storage.contract.transfer import Kind, Shape, Table
from prismq.storage.sameness import CHECKSUMS, checksum, json_sameness, sameness, time_sameness

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a":1,"b":2}', '{ "b": 2, "a": 1 }'),
        ("1e5", "100000"),
        ("1.50", "1.5"),
        ("100", "1E+2"),
        ("-0", "0"),
        ("0.0", "0"),
        ("1e-7", "0.0000001"),
        ('"\\u00e9"', '"é"'),
        ('{"a":1,"a":2}', '{"a":2}'),
    ],
)
def test_json_is_compared_by_value(one: str, other: str) -> None:
    assert json_sameness(one) == json_sameness(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", '"1"'), ("1", "true"), ("0", "false"), ("null", '""'), ("[1,2]", "[2,1]"), ("[]", "{}"),
        ("12345678901234567890123", "12345678901234567890124"), ("0.1", "0.1000000000000000055"),
        ('"1e5"', "1e5"), ('"a"', '"A"'), ("9007199254740993", "9007199254740992"), ("-1", "1"),
    ],
)  # fmt: skip
def test_json_that_differs_is_not_the_same(one: str, other: str) -> None:
    assert json_sameness(one) != json_sameness(other)


@given(JSON, JSON)
def test_json_is_the_same_exactly_where_python_reads_the_same(one: Any, other: Any) -> None:
    assert json_sameness(json.dumps(one)) == json_sameness(json.dumps(one, indent=1, ensure_ascii=False))
    if json_sameness(json.dumps(one)) == json_sameness(json.dumps(other)):
        assert one == other


@pytest.mark.parametrize("text", ["NaN", "", "{", "1e999999999999999999999", "nope"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting|number"):
        json_sameness(text)


def test_times_are_compared_by_moment_to_the_microsecond() -> None:
    assert time_sameness("2025-01-31 06:30:00") == time_sameness("2025-01-31T08:30:00.000+02:00")
    assert time_sameness("9999-12-31 23:59:59.999998") != time_sameness("9999-12-31 23:59:59.999999")
    assert time_sameness("infinity") == "infinity"


def test_a_checksum_does_not_depend_on_pieces_or_order_and_notices_every_change() -> None:
    rows = [(number, f"text {number}", None) for number in range(50)]
    whole = checksum("task_logs", rows)
    assert (checksum("task_logs", rows[:7]) + checksum("task_logs", rows[7:])) % CHECKSUMS == whole
    assert checksum("task_logs", rows[::-1]) == whole
    assert checksum("workers", rows) != whole
    assert checksum("task_logs", rows[:-1]) != whole
    assert checksum("task_logs", [*rows[:-1], (49, "text 49", "")]) != whole
    assert checksum("task_logs", [*rows, rows[0], rows[0]]) != whole


def test_where_both_keep_values_as_they_are_nothing_is_interpreted() -> None:
    shape = Shape(Table("t", ("id",)), ("id", "payload"), (Kind.ANY, Kind.ANY))
    assert sameness(shape)((1, "not { json")) == (1, "not { json")
