"""What a metric is, and where histograms are cut."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(str, Enum):
    """The type of a metric, in the words of OpenMetrics."""

    COUNTER = "counter"  # only grows
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"  # 1, with what there is to know as labels

    def __str__(self) -> str:
        return self.value


class Metric(NamedTuple):
    """A metric. `name` as in a query: with `_total` for a counter, `_info` for an info; without `_bucket`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""  # the last word of the name, but for `_total`: what OpenMetrics calls the unit
    group: str = ""
    buckets: tuple[float, ...] = ()  # of a histogram: its boundaries

    @property
    def family(self) -> str:
        """The name without the suffix that its kind adds."""
        suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")
        return self.name.removesuffix(suffix)


# Where the bins of a sketch are cut for a histogram, in seconds: from tasks that do next to nothing to those that run
# for hours, with the promises that queues are named after (30 seconds, 5 minutes, 1 hour) among them.
BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
    14400.0,
)  # fmt: skip
