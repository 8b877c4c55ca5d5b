"""The words of the command line."""

from __future__ import annotations

import pytest

from prismq.cli import options, output


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"), (-1, "0 ms"), (0, "0 ms"), (0.00031, "0.31 ms"), (0.085, "85 ms"), (0.9999, "1 s"), (4.2, "4.2 s"),
        (59.94, "59.9 s"), (60, "1 m"), (200, "3 m 20 s"), (7500, "2 h 5 m"), (3600, "1 h"), (356_400, "4 d 3 h"),
        (float("inf"), "ever"),
    ],
)  # fmt: skip
def test_durations_are_said_in_two_units_at_most(seconds: float | None, words: str) -> None:
    assert output.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (-3, "0s"), (4, "4s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d"), (1e9, "11574d")],
)
def test_ages_in_tables_have_one_unit(seconds: float | None, words: str) -> None:
    assert output.age(seconds) == words


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400), ("250ms", 0.25)]
)
def test_times_are_read_with_and_without_units(text: str, seconds: float) -> None:
    assert options.seconds_of(text, "--delay") == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "-1", "inf", "nan", "1h30m"])
def test_times_that_cannot_be_read_are_usage_errors(text: str) -> None:
    with pytest.raises(Exception, match="--delay takes") as caught:
        options.seconds_of(text, "--delay")
    assert getattr(caught.value, "exit_code", None) == 2


def test_control_characters_are_written_out() -> None:
    assert output.clean("a\x1b[2J\u202eb\n\tc") == "a\\x1b[2J\\u202eb\n\tc"
