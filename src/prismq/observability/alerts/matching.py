"""Which alerts a silence is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from prismq.domain.errors import InvalidArgument
from prismq.domain.limits import NAME_CHARS_MAX
from prismq.storage.contract.alerts import AlertRecord, Silence

MATCHERS_MAX = 16
SILENCE_S_MAX = 366 * 86_400.0


def labels_of(record: AlertRecord) -> dict[str, str]:
    """What a silence can name of an alert: its labels, its `rule` and its `severity`."""
    return {**record.labels, "rule": record.rule, "severity": record.severity}


def matches(matchers: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every matcher holds. `*` and `?` stand for any characters and for one; case counts."""
    return bool(matchers) and all(fnmatchcase(labels.get(name, ""), want) for name, want in matchers.items())


def silencing(record: AlertRecord, silences: Iterable[Silence], now: float) -> Silence | None:
    """The silence that the alert is under now: the one that lasts longest."""
    labels = labels_of(record)
    found = [one for one in silences if one.starts <= now < one.until and matches(one.matchers, labels)]
    return max(found, key=lambda one: one.until, default=None)


def check_silence(matchers: Mapping[str, str], seconds: float) -> None:
    """Raises InvalidArgument, which says what would be right."""
    if not matchers:
        raise InvalidArgument(
            "a silence names what it is about: one or more of rule, severity and labels, as in rule=*"
        )
    if len(matchers) > MATCHERS_MAX or any(len(part) > NAME_CHARS_MAX for pair in matchers.items() for part in pair):
        raise InvalidArgument(
            f"a silence has at most {MATCHERS_MAX} matchers, each name and value at most {NAME_CHARS_MAX} characters"
        )
    if not 0 < seconds <= SILENCE_S_MAX:
        raise InvalidArgument("a silence lasts for more than no time, and for at most a year; it can be made again")
