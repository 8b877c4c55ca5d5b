"""What templates do with values: times, sizes and numbers as people read them. Text is escaped by the template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from prismq.domain.times import UTC, from_epoch, to_epoch
from prismq.domain.words import duration, first_line
from prismq.server.views.causes import Cause
from prismq.server.views.values import preview, shown

_Moment = datetime | float | int
_FACT_CHARS_MAX = 300


def epoch(moment: _Moment) -> float:
    """Seconds since 1970, to the millisecond."""
    return round(to_epoch(moment) if isinstance(moment, datetime) else float(moment), 3)


def _datetime(moment: _Moment) -> datetime:
    return moment.astimezone(UTC) if isinstance(moment, datetime) else from_epoch(moment)


def iso(moment: _Moment) -> str:
    """ISO 8601 in UTC, for programs."""
    return _datetime(moment).isoformat(timespec="milliseconds")


def utc(moment: _Moment) -> str:
    """`2025-01-31 06:30:00 UTC`."""
    return f"{_datetime(moment).replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def clock(moment: _Moment) -> str:
    """`06:30:00`."""
    return _datetime(moment).strftime("%H:%M:%S")


@pass_context
def ago(context: Context, moment: _Moment) -> str:
    """`12 s ago`; `in 12 s` for what is to come."""
    age_s = context["now"] - epoch(moment)
    if age_s < -1:
        return f"in {duration(-age_s)}"
    return f"{int(max(0.0, age_s))} s ago" if age_s < 60 else f"{duration(age_s)} ago"


def figure(number: float | None) -> str:
    """`1,200`, `0.25`; `–` for None."""
    if number is None:
        return "–"
    if isinstance(number, int) or number == int(number):
        return f"{int(number):,}"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2g}"


def took(seconds: float | None) -> str:
    """A duration; `–` for None."""
    return "–" if seconds is None else duration(seconds)


def span(pair: tuple[datetime | None, datetime | None]) -> str:
    """The time between two moments; `–` where one is missing."""
    since, until = pair
    return "–" if since is None or until is None else duration(max(0.0, (until - since).total_seconds()))


def size(count: float | None) -> str:
    """`12 MiB`."""
    if count is None:
        return "–"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


_UNITS: Mapping[str, Callable[[float], str]] = {
    "bytes": size,
    "seconds": took,
    "ms": lambda value: duration(value / 1000),
}


def attributes(values: Mapping[str, Any]) -> str:
    """`key: value, …` on one line."""
    said = (
        f"{key}: {value if isinstance(value, str) else json.dumps(value, default=str)}" for key, value in values.items()
    )
    return ", ".join(said)[:_FACT_CHARS_MAX]


def facts(values: Mapping[str, Any]) -> str:
    """What a check found, in words."""
    said = []
    for key, value in values.items():
        if value is None or value == []:
            continue
        words, _, unit = key.rpartition("_")
        if unit in _UNITS and isinstance(value, (int, float)):
            said.append(f"{words.replace('_', ' ')} {_UNITS[unit](value)}")
        else:
            said.append(f"{key.replace('_', ' ')} {figure(value) if isinstance(value, (int, float)) else value}")
    return ", ".join(said)


def setting(value: object) -> str:
    """A setting's value as one would write it."""
    if value is None or value == "":
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def ticks(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one that closes nothing: it is text
        return escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts)
    )


def as_query(value: str | None, name: str) -> str:
    """`&name=value`; nothing for None."""
    return f"&{urlencode({name: value})}" if value else ""


def cause_query(cause: Cause) -> str:
    """The filter that finds the tasks of a cause, and perhaps a few more."""
    pairs = [("status", status) for status in cause.statuses] + [("type", cause.type)]
    if cause.words:
        pairs.append(("text", cause.words))
    return urlencode(pairs)


@pass_context
def without_secrets(context: Context, text: str | None) -> str:
    """The beginning of JSON text on one line."""
    return preview(text, context["redactor"])


@pass_context
def laid_out(context: Context, text: str | None) -> str:
    """JSON text on several lines."""
    found = shown(text, context["redactor"])
    return "" if found is None else found.text


FILTERS: Mapping[str, Callable[..., str | float]] = {
    "ago": ago, "as_query": as_query, "attributes": attributes, "bytes": size, "cause_query": cause_query,
    "clock": clock, "duration": took, "epoch": epoch, "facts": facts, "figure": figure, "first_line": first_line,
    "iso": iso, "json": laid_out, "preview": without_secrets, "setting": setting, "span": span, "ticks": ticks,
    "utc": utc,
}  # fmt: skip


def install(environment: Environment) -> None:
    """Give them to an environment."""
    environment.filters.update(FILTERS)
