"""Pieces of PromQL, each made of a metric that the table of metrics has.

Several servers over one database tell the same figures: `once` takes each of them once. `service` is the label that
the scrape gives to a queue's servers, so that several queues can share a Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from prismq.observability.exposition.definitions import BY_NAME
from prismq.observability.exposition.metric import Kind

SERVICE = "service"
JOB = "task-queue"  # the scrape job of the queue's servers, as the reference calls it
WINDOW = "5m"
ON_EVERY_PAGE = "prismq_metrics_collect_seconds"  # one series, as long as the page is answered

_GROWN = "grown:"
_ASKED = re.compile(_GROWN + r'(\w+)\{window="(\w+)"(?:,le="([^"]*)")?')


def series(name: str, selector: str = "") -> str:
    """A selector of a metric's series. `name` may be that of a histogram with `_bucket`, `_count` or `_sum`.

    Raises KeyError for a metric that there is not.
    """
    for suffix in ("_bucket", "_count", "_sum"):
        base = name.removesuffix(suffix)
        if base != name and base in BY_NAME and BY_NAME[base].kind is Kind.HISTOGRAM:
            return f"{name}{{{selector}}}" if selector else name
    if BY_NAME[name].kind is Kind.HISTOGRAM:
        raise KeyError(f"{name} is a histogram: say _bucket, _count or _sum")
    return f"{name}{{{selector}}}" if selector else name


def labels_of(name: str) -> tuple[str, ...]:
    """All labels that the series of a metric have."""
    for suffix in ("_bucket", "_count", "_sum"):
        base = name.removesuffix(suffix)
        if base != name and base in BY_NAME:
            return (*BY_NAME[base].labels, *(("le",) if suffix == "_bucket" else ()))
    return BY_NAME[name].labels


def by(*labels: str) -> str:
    """`by (service, …)`."""
    return f"by ({', '.join((SERVICE, *labels))})"


def on(*labels: str) -> str:
    """`on (service, …)`."""
    return f"on ({', '.join((SERVICE, *labels))})"


def once(name: str, selector: str = "", over: str = "{}") -> str:
    """Each series of a figure of the queue once, whoever tells it; `over`: what to do with the selector first."""
    return f"max {by(*labels_of(name))} ({over.format(series(name, selector))})"


def rate(name: str, selector: str = "", window: str = WINDOW) -> str:
    """How fast a counter that begins at 0 with its process grows, in its unit a second, each series once."""
    return once(name, selector, f"rate({{}}[{window}])")


def grown(name: str, selector: str = "", window: str = WINDOW) -> str:
    """By how much a counter of the database grew within the window, each series once: as `growth` has it recorded.

    Raises KeyError for a metric that there is not.
    """
    series(name)
    return f'{_GROWN}{name.removeprefix("prismq_")}{{window="{window}"{selector and "," + selector}}}'


class Growth(NamedTuple):
    """A counter whose growth within a window is asked for; `le`: of one bucket alone."""

    name: str
    window: str
    le: str = ""

    @property
    def record(self) -> str:
        """What its growth is called; the window is a label."""
        return _GROWN + self.name.removeprefix("prismq_")


def growths_in(expressions: Iterable[str]) -> list[Growth]:
    """What `grown` was asked for in these, once each."""
    asked = {
        Growth(f"prismq_{found[1]}", found[2], found[3] or "")
        for expression in expressions
        for found in _ASKED.finditer(expression)
    }
    return sorted(one for one in asked if not one.le or one._replace(le="") not in asked)


def growth(asked: Growth) -> str:
    """The growth from the first sample within the window to now, exactly. increase() guesses at the edges.

    The first sample that Prometheus has of such a counter may be anything. It has grown from 0 where the series came
    while somebody looked: then the window has more samples of the page than of the series. To whoever begins to look,
    every series may be old, and increase() takes them for that always.
    """
    name, window = asked.name, asked.window
    ours, mine = series(name, asked.le and f'le="{asked.le}"'), by(*labels_of(name))
    total, first = f"max {mine} ({ours})", f"min {mine} (min_over_time({ours}[{window}]))"
    seen, looked = (
        f"max {labels} (count_over_time({what}[{window}]))" for labels, what in ((mine, ours), (by(), ON_EVERY_PAGE))
    )
    return f"{total} - ({first} unless {seen} < {on()} group_left () {looked} or 0 * {total})"


def summed(expression: str, *labels: str) -> str:
    """The sum over all but these labels."""
    return f"sum {by(*labels)} ({expression})"


def ratio(part: str, whole: str) -> str:
    """`part` of `whole`, 0 where there is nothing, absent where nothing is known."""
    return f"{part} / ({whole} > 0) or 0 * {whole}"
