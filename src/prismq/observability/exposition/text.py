"""A snapshot as text: the two forms that Prometheus reads, and JSON.

https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md, both as the Python client writes
them. Not by means of it: it takes ten times as long for a line, and there may be thousands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import lru_cache
from typing import Any

from prismq.clock import Clock
from prismq.domain.promise import NONE_GIVEN, Promises
from prismq.domain.times import from_epoch
from prismq.observability.condition import HEARTBEAT_S
from prismq.observability.exposition.collector import RedisReader, Snapshot, collect
from prismq.observability.exposition.database import Slots
from prismq.observability.exposition.definitions import METRICS
from prismq.observability.exposition.metric import Kind, Metric
from prismq.observability.exposition.samples import Histogram, Labels, Samples
from prismq.storage.contract import Store


class Format(str, Enum):
    """How a snapshot can be written."""

    PROMETHEUS = "prometheus"
    OPENMETRICS = "openmetrics"
    JSON = "json"

    def __str__(self) -> str:
        return self.value

    @property
    def content_type(self) -> str:
        """For HTTP."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES = {
    Format.PROMETHEUS: "text/plain; version=0.0.4; charset=utf-8",
    Format.OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    Format.JSON: "application/json",
}
_MEDIA_TYPES = {
    "application/openmetrics-text": Format.OPENMETRICS,
    "application/json": Format.JSON,
    "text/plain": Format.PROMETHEUS,
    "text/*": Format.PROMETHEUS,
    "*/*": Format.PROMETHEUS,
}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABELS_KEPT = 4096
_LE = {metric.name: [*(str(float(boundary)) for boundary in metric.buckets), "+Inf"] for metric in METRICS}


def render_metrics(
    store: Store,
    clock: Clock,
    accept: str | None = None,
    *,
    redis: RedisReader | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    backup_dir: str | None = None,
    slots: Slots | None = None,
    more: Iterable[Callable[[], Samples]] = (),
    promises: Promises = NONE_GIVEN,
) -> tuple[bytes, str]:
    """What `GET /metrics` answers: the body, and its content type. `accept`: the header of that name.

    The rest is for `collect`, which raises what this raises.
    """
    wanted = negotiate(accept)
    snapshot = collect(
        store,
        clock,
        redis=redis,
        heartbeat_s=heartbeat_s,
        backup_dir=backup_dir,
        slots=slots,
        more=more,
        promises=promises,
    )
    return render(snapshot, wanted).encode(), wanted.content_type


def negotiate(accept: str | None) -> Format:
    """The form that an Accept header likes best; the first of equals, and Prometheus text where it says nothing."""
    best, best_q = Format.PROMETHEUS, 0.0
    for part in (accept or "").split(","):
        media, *parameters = (one.strip().lower() for one in part.split(";"))
        form = _MEDIA_TYPES.get(media)
        q = _quality(parameters)
        if form is not None and q > best_q:
            best, best_q = form, q
    return best


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def render(snapshot: Snapshot, form: Format) -> str:
    """The whole text."""
    if form is Format.JSON:
        return json.dumps(_as_json(snapshot), ensure_ascii=False, allow_nan=False)
    open_ = form is Format.OPENMETRICS
    lines: list[str] = []
    for metric in METRICS:
        found = snapshot.samples.get(metric.name)
        if not found:
            continue
        lines += _head(metric, open_metrics=open_)
        for values, value in found:
            labels = _labels(metric.labels, values)
            if isinstance(value, Histogram):
                lines += _histogram(metric.name, labels, value)
            else:
                name = f"{metric.name}{{{labels}}}" if labels else metric.name
                lines.append(f"{name} {_number(value)}")
    if open_:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _head(metric: Metric, *, open_metrics: bool) -> Iterator[str]:
    # Without a family of its own, Prometheus text has the suffix in the family's name, and knows no info.
    name = metric.family if open_metrics else metric.name
    kind = Kind.GAUGE if metric.kind is Kind.INFO and not open_metrics else metric.kind
    yield f"# HELP {name} {metric.help.translate(_ESCAPES if open_metrics else _HELP_ESCAPES)}"
    yield f"# TYPE {name} {kind}"
    if open_metrics and metric.unit:
        yield f"# UNIT {name} {metric.unit}"


@lru_cache(_LABELS_KEPT)  # many metrics have the same, and the next page will
def _labels(names: tuple[str, ...], values: Labels) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))


def _histogram(name: str, labels: str, value: Histogram) -> Iterator[str]:
    bucket = f'{name}_bucket{{{labels},le="'
    for le, count in zip(_LE[name], value.cumulative, strict=True):
        yield f'{bucket}{le}"}} {count}'
    yield f"{name}_count{{{labels}}} {value.count}"
    yield f"{name}_sum{{{labels}}} {_number(value.sum_s)}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _as_json(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "at": from_epoch(snapshot.at).isoformat(),
        "metrics": [
            {
                "name": metric.name,
                "type": metric.kind.value,
                "help": metric.help,
                "unit": metric.unit or None,
                "group": metric.group,
                "samples": [
                    {"labels": dict(zip(metric.labels, values, strict=True)), **_value_json(metric.name, value)}
                    for values, value in found
                ],
            }
            for metric in METRICS
            if (found := snapshot.samples.get(metric.name))
        ],
    }


def _value_json(name: str, value: float | Histogram) -> dict[str, Any]:
    if isinstance(value, Histogram):
        return {
            "buckets": dict(zip(_LE[name], value.cumulative, strict=True)),
            "count": value.count,
            "sum": value.sum_s,
        }
    return {"value": value if math.isfinite(value) else None}
