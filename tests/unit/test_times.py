from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.times import (
    UTC,
    epoch_to_text,
    from_epoch,
    from_text,
    text_to_epoch,
    to_epoch,
    to_text,
)

EPOCHS = st.floats(-62_135_596_800, 253_402_300_799, allow_nan=False)  # the years 1 to 9999
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day or two from the ends of the calendar, so that every offset has room.
MOMENTS = st.datetimes(
    datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=OFFSETS,
)


def in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@given(EPOCHS)
def test_an_epoch_survives_the_datetime_to_the_microsecond(epoch_s: float) -> None:
    assert to_epoch(from_epoch(epoch_s)) == pytest.approx(epoch_s, abs=1e-6)


@given(MOMENTS)
def test_text_brings_back_the_moment_to_the_millisecond(moment: datetime) -> None:
    assert from_text(to_text(moment)) == in_milliseconds(moment.astimezone(UTC))


@given(MOMENTS)
def test_iso_8601_is_read_to_the_microsecond(moment: datetime) -> None:
    assert from_text(moment.isoformat()) == moment


@given(EPOCHS)
def test_epoch_and_datetime_have_the_same_text(epoch_s: float) -> None:
    assert epoch_to_text(epoch_s) == to_text(from_epoch(epoch_s))


@given(MOMENTS, MOMENTS)
def test_text_compares_as_time_does(one: datetime, other: datetime) -> None:
    one, other = in_milliseconds(one.astimezone(UTC)), in_milliseconds(other.astimezone(UTC))
    assert (to_text(one) < to_text(other)) == (one < other)


@given(MOMENTS)
def test_sqlite_reads_our_text_as_the_same_moment(moment: datetime) -> None:
    connection = sqlite3.connect(":memory:")
    try:
        [(read,)] = connection.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', ?)", [to_text(moment)])
    finally:
        connection.close()
    assert read == to_text(moment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29 12:30:00", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
        ("2024-02-29 12:30:00.5", datetime(2024, 2, 29, 12, 30, 0, 500_000, tzinfo=UTC)),
        ("2024-02-29 12:30:00.1234567", datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=UTC)),
        ("2024-02-29T12:30:00Z", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
        ("2024-02-29T12:30:00.25+02:00", datetime(2024, 2, 29, 10, 30, 0, 250_000, tzinfo=UTC)),
        (" 2024-02-29 ", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_the_forms_that_people_and_programs_write_are_read(text: str, expected: datetime) -> None:
    assert from_text(text) == expected
    assert text_to_epoch(text) == expected.timestamp()


@pytest.mark.parametrize("text", ["", "now", "2024-02-30 00:00:00", "12:30", "1700000000"])
def test_what_is_no_time_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_text(text)


def test_a_time_without_a_zone_is_in_utc() -> None:
    naive = datetime(2024, 1, 1, 12)  # noqa: DTZ001 - this is the point
    assert to_epoch(naive) == to_epoch(naive.replace(tzinfo=UTC))
    assert to_text(naive) == "2024-01-01 12:00:00.000"
