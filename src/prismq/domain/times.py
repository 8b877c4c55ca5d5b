"""Times as the tables hold them: UTC text in SQLite's own form, `YYYY-MM-DD HH:MM:SS[.SSS]`.

Text of this form compares as time does, and SQLite's date functions read it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from math import modf

UTC = timezone.utc
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_epoch(epoch_s: float) -> datetime:
    """The aware UTC datetime of `epoch_s` seconds since 1970; any sign, without a platform's limits."""
    return _EPOCH + timedelta(seconds=epoch_s)


def to_epoch(moment: datetime) -> float:
    """Seconds since 1970. A naive datetime is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds()


def to_text(moment: datetime) -> str:
    """`YYYY-MM-DD HH:MM:SS.SSS` in UTC. A naive datetime is taken as UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")


@lru_cache(maxsize=1024)  # the same moment is written to several columns and rows
def epoch_to_text(epoch_s: float) -> str:
    """`YYYY-MM-DD HH:MM:SS.SSS` of `epoch_s` seconds since 1970."""
    # By hand, and the second only once: a busy worker writes tens of thousands of times a second.
    fraction, whole = modf(epoch_s)
    second, micros = divmod(int(whole) * 1_000_000 + round(fraction * 1_000_000), 1_000_000)
    return f"{_second_text(second)}.{micros // 1000:03d}"


@lru_cache(maxsize=1024)
def _second_text(second: int) -> str:
    return from_epoch(second).replace(tzinfo=None).isoformat(" ", "seconds")


def from_text(text: str) -> datetime:
    """Read SQLite's form and ISO 8601 (`T`, `Z` or an offset). Raises ValueError on anything else."""
    text = text.strip()
    if text.endswith(("Z", "z")):
        text = text[:-1] + "+00:00"
    # fromisoformat of Python 3.10 takes 3 or 6 digits of a second's fraction and nothing between.
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def text_to_epoch(text: str) -> float:
    """Seconds since 1970 of a time in the table's form or in ISO 8601."""
    if len(text) == 23 and text[13] == ":" == text[16] and text[19] == "." and text[20:].isdecimal() and text.isascii():
        return (_second_epoch(text[:19]) * 1_000_000 + int(text[20:]) * 1000) / 1_000_000
    return to_epoch(from_text(text))


@lru_cache(maxsize=1024)
def _second_epoch(text: str) -> int:
    return int(to_epoch(from_text(text)))
