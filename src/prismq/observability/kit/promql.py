"""Pieces of PromQL, each made of a metric that the table of metrics has.

Several servers over one database tell the same figures: `once` takes each of them once. `service` is the label that
the scrape gives to a queue's servers, so that several queues can share a Prometheus.
"""

from __future__ import annotations

from prismq.observability.exposition.definitions import BY_NAME, Kind

SERVICE = "service"
JOB = "task-queue"  # the scrape job of the queue's servers, as the reference calls it
WINDOW = "5m"


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
    """How fast a counter of the queue grows, in its unit a second, each series once."""
    return once(name, selector, f"rate({{}}[{window}])")


def increase(name: str, selector: str = "", window: str = WINDOW) -> str:
    """By how much it grew within the window."""
    return once(name, selector, f"increase({{}}[{window}])")


def summed(expression: str, *labels: str) -> str:
    """The sum over all but these labels."""
    return f"sum {by(*labels)} ({expression})"


def ratio(part: str, whole: str) -> str:
    """`part` of `whole`, 0 where there is nothing, absent where nothing is known."""
    return f"{part} / ({whole} > 0) or 0 * {whole}"
