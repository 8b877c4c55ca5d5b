"""What a metric has: a value, or a histogram with fixed boundaries, for each set of labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prismq.domain.sketch import BIN_MAX, BIN_MIN, value_of
from prismq.observability.exposition.definitions import BUCKETS_S

# A bin belongs to the first boundary that its representative does not exceed; always the same one, so that counts
# never fall. The representative is within 2 % of every value in the bin, so a value that is further than that from
# a boundary is on its right side.
_BUCKET_OF = [bisect_left(BUCKETS_S, value_of(number)) for number in range(BIN_MIN, BIN_MAX + 1)]


@dataclass(frozen=True)
class Histogram:
    """Counts up to each of the metric's boundaries, and of all; `sum_s` of tasks is exact to the microsecond."""

    cumulative: tuple[int, ...]
    sum_s: float

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.cumulative[-1]


def histogram_of(bins: Mapping[int, int], sum_s: float) -> Histogram:
    """The histogram of a sketch's bins, cut at BUCKETS_S."""
    counts = [0] * (len(BUCKETS_S) + 1)
    for number, n in bins.items():
        counts[_BUCKET_OF[number - BIN_MIN]] += n
    return Histogram(tuple(accumulate(counts)), sum_s)


def histogram_of_counts(counts: Iterable[int], sum_s: float) -> Histogram:
    """The histogram of what lies up to each boundary, and above the one before."""
    return Histogram(tuple(accumulate(counts)), sum_s)


Labels = tuple[str, ...]  # values, in the order of the metric's own labels
Samples = dict[str, list[tuple[Labels, float | Histogram]]]  # by the metric's name
