"""Text of our form compares as time does, here and in SQLite."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.times import epoch_to_text, text_to_epoch

# From 1970 to the end of the year 9999, where SQLite's dates end; to the millisecond, as the text has it.
TIMES = st.integers(0, 253_402_300_799_999).map(lambda ms: ms / 1000)


@given(TIMES, TIMES)
def test_the_texts_of_two_times_compare_as_the_times_do(one: float, other: float) -> None:
    assert (epoch_to_text(one) < epoch_to_text(other)) == (text_to_epoch(epoch_to_text(one)) < text_to_epoch(
        epoch_to_text(other)
    ))  # fmt: skip
    if abs(one - other) >= 0.002:
        assert (epoch_to_text(one) < epoch_to_text(other)) == (one < other)


@given(TIMES)
def test_a_time_survives_its_text_to_the_millisecond_and_never_grows(moment: float) -> None:
    back = text_to_epoch(epoch_to_text(moment))
    assert 0 <= round(moment - back, 4) <= 0.001
    assert epoch_to_text(back)[:19] == epoch_to_text(moment)[:19]


@given(TIMES)
def test_sqlite_reads_our_text_and_writes_it_the_same(moment: float) -> None:
    connection = sqlite3.connect(":memory:")
    text = epoch_to_text(moment)
    [(read, seconds)] = connection.execute(
        "SELECT strftime('%Y-%m-%d %H:%M:%f', ?1), CAST(strftime('%s', ?1) AS INTEGER)", (text,)
    )
    connection.close()
    assert read == text
    assert seconds == int(text_to_epoch(text))
