"""A cron expression in words, for those who do not read them daily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * SUN",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAY_NUMBERS = {name[:3].upper(): number for number, name in enumerate(_DAYS[:7])}
_MONTHS = (
    "", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH_NUMBERS = {name[:3].upper(): number for number, name in enumerate(_MONTHS) if name}


class _Parts(NamedTuple):
    second: str
    minute: str
    hour: str
    day: str
    month: str
    weekday: str


def in_words(expression: str) -> str:
    """`at 06:30 on Monday to Friday`; the expression itself where it is more than a sentence can say."""
    fields = _ALIASES.get(expression.strip().lower(), expression).split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        return expression
    parts = _Parts(*fields)
    try:
        said = [_time(parts), _days(parts), _months(parts.month)]
    except (ValueError, IndexError):
        return expression
    return " ".join(one for one in said if one)


def _time(parts: _Parts) -> str:
    second, minute, hour = parts.second, parts.minute, parts.hour
    if second != "0":
        if minute == hour == "*":
            return _every(second, "second")
        return f"{_every(second, 'second')} while it is {_time(parts._replace(second='0'))}"
    if hour == "*":
        return (
            "every hour"
            if minute == "0"
            else _every(minute, "minute") + ("" if _is_steps(minute) else " of every hour")
        )
    if minute.isdecimal() and all(one.isdecimal() for one in hour.split(",")):
        return "at " + _listed([f"{int(one):02d}:{int(minute):02d}" for one in hour.split(",")])
    if hour.startswith("*/"):
        when = "on the hour" if minute == "0" else f"at {_every(minute, 'minute')}"
        return f"every {_ordinal(int(hour[2:]))}hour{'s' if int(hour[2:]) > 1 else ''} {when}".replace("  ", " ")
    first = "every hour" if minute == "0" else _every(minute, "minute")
    return f"{first} from {_hours(hour)}"


def _hours(text: str) -> str:
    if "," in text:
        return _listed([_hours(one) for one in text.split(",")])
    base, _, step = text.partition("/")
    first, _, last = base.partition("-")
    said = f"{int(first):02d}:00" + (f" to {int(last):02d}:59" if last else f" to {int(first):02d}:59")
    return f"{said} every {step} hours" if step else said


def _is_steps(text: str) -> bool:
    return text == "*" or text.startswith("*/")


def _every(text: str, unit: str) -> str:
    if text == "*":
        return f"every {unit}"
    if text.startswith("*/"):
        number = int(text[2:])
        return f"every {unit}" if number == 1 else f"every {number} {unit}s"
    values = text.split(",")
    if any(not one.replace("-", "").replace("/", "").isdecimal() for one in values):
        raise ValueError(text)
    several = len(values) > 1 or "-" in text
    return f"at {unit}{'s' if several else ''} {_listed([one.replace('-', ' to ') for one in values])}"


def _ordinal(number: int) -> str:
    return "" if number == 1 else f"{number} "


def _days(parts: _Parts) -> str:
    any_day, any_weekday = parts.day in ("*", "?"), parts.weekday in ("*", "?")
    weekday = "" if any_weekday else f"on {_named(parts.weekday, _DAYS, _DAY_NUMBERS)}"
    if any_day:
        return weekday or ("every day" if parts.hour.replace(",", "").isdecimal() and parts.month == "*" else "")
    if parts.day == "L":
        day = "on the last day of the month"
    elif parts.day == "LW":
        day = "on the last weekday of the month"
    elif parts.day.startswith("*/"):
        day = f"every {int(parts.day[2:])} days of the month"
    else:
        day = f"on day {_listed([one.replace('-', ' to ') for one in parts.day.split(',')])} of the month"
        if any(not one.replace("-", "").isdecimal() for one in parts.day.split(",")):
            raise ValueError(parts.day)
    return f"{day} and {weekday}" if weekday else day


def _months(text: str) -> str:
    if text == "*":
        return ""
    if text.startswith("*/"):
        return f"every {int(text[2:])} months"
    return f"in {_named(text, _MONTHS, _MONTH_NUMBERS)}"


def _named(text: str, names: tuple[str, ...], numbers: Mapping[str, int]) -> str:
    def name(one: str) -> str:
        number = numbers.get(one.upper())
        return names[int(one) if number is None else number]

    def said(one: str) -> str:
        if "#" in one:
            day, _, which = one.partition("#")
            return f"{('first', 'second', 'third', 'fourth', 'fifth')[int(which) - 1]} {name(day)} of the month"
        if one.upper().endswith("L") and len(one) == 2:
            return f"the last {name(one[0])} of the month"
        first, dash, last = one.partition("-")
        return f"{name(first)} to {name(last)}" if dash else name(one)

    return _listed([said(one) for one in text.split(",")])


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
