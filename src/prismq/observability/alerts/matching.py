"""Which alerts are kept back: those that a silence is about, and those that follow from another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from prismq.domain.errors import InvalidArgument, closest
from prismq.domain.limits import NAME_CHARS_MAX
from prismq.observability.alerts.definitions import MUTES, Severity
from prismq.storage.contract.alerts import FIRING, AlertRecord, Silence

MATCHERS_MAX = 16
SILENCE_S_MAX = 366 * 86_400.0
NAMES_NOTHING = "a silence names what it is about: one or more of rule, severity and labels, as in rule=*"


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


def muting(record: AlertRecord, among: Iterable[AlertRecord]) -> AlertRecord | None:
    """The alert that fires and that this one, which fires as well, follows from by the table MUTES; else None."""
    if record.state != FIRING:
        return None
    return next(
        (
            one
            for one in among
            if one.state == FIRING
            and record.rule in MUTES.get(one.rule, ())
            and all(one.labels[name] == record.labels[name] for name in one.labels.keys() & record.labels.keys())
        ),
        None,
    )


def check_silence(matchers: Mapping[str, str], seconds: float, known: Mapping[str, Iterable[str]]) -> None:
    """Raises InvalidArgument, which says what would be right. `known`: the labels of each alert, by its name."""
    if not matchers:
        raise InvalidArgument(NAMES_NOTHING)
    if len(matchers) > MATCHERS_MAX or any(len(part) > NAME_CHARS_MAX for pair in matchers.items() for part in pair):
        raise InvalidArgument(
            f"a silence has at most {MATCHERS_MAX} matchers, each name and value at most {NAME_CHARS_MAX} characters"
        )
    if not 0 < seconds <= SILENCE_S_MAX:
        raise InvalidArgument("a silence lasts for more than no time, and for at most a year; it can be made again")
    # One that can match nothing would leave its maker believing that it is quiet now.
    wanted, severity = matchers.get("rule", "*"), matchers.get("severity", "*")
    rules = [name for name in known if fnmatchcase(name, wanted)]
    if not rules:
        raise InvalidArgument(
            f"there is no alert {wanted!r}.{closest(wanted, known)} `prismq alerts rules` lists them; * stands for any"
        )
    severities = [one.value for one in Severity]
    if not any(fnmatchcase(one, severity) for one in severities):
        raise InvalidArgument(
            f"there is no severity {severity!r}.{closest(severity, severities)} There are {', '.join(severities)}"
        )
    labels = {"rule", "severity", *(label for name in rules for label in known[name])}
    for label in matchers:
        if label not in labels:
            whose = "no alert" if wanted == "*" else f"no alert {wanted}"
            raise InvalidArgument(
                f"{whose} has a label {label!r}.{closest(label, labels)} A silence may name {', '.join(sorted(labels))}"
            )
