"""What a metric has: a value, or a histogram with fixed boundaries, for each set of labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from pydantic_core import from_json

from prismq.domain.sketch import BIN_MAX, BIN_MIN, value_of
from prismq.observability.exposition.metric import BUCKETS_S

# A bin belongs to the first boundary that its representative does not exceed; always the same one, so that counts
# never fall. The representative is within 2 % of every value in the bin, so a value that is further than that from
# a boundary is on its right side.
_BUCKET_OF = {str(number): bisect_left(BUCKETS_S, value_of(number)) for number in range(BIN_MIN, BIN_MAX + 1)}

_NOTHING = (0,) * (len(BUCKETS_S) + 1)


@dataclass(frozen=True)
class Histogram:
    """Counts up to each of the metric's boundaries, and of all; `sum_s` of tasks is exact to the microsecond."""

    cumulative: tuple[int, ...]
    sum_s: float

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.cumulative[-1]


def histogram_of(texts: Iterable[str], sum_s: float) -> Histogram:
    """The histogram of all of these sketches, cut at BUCKETS_S. They are as Sketch.to_json gave them; text that is none
    counts for nothing."""
    counts = [sum(column) for column in zip(_NOTHING, *map(_counts_of, texts), strict=True)]
    return Histogram(tuple(accumulate(counts)), sum_s)


# Of most types nothing has ended since somebody last asked. Not by way of a sketch, which takes three times as long.
@lru_cache(maxsize=1024)
def _counts_of(text: str) -> tuple[int, ...]:
    counts = [0] * len(_NOTHING)
    try:
        for number, n in from_json(text).items():
            counts[_BUCKET_OF[number]] += n
    except (KeyError, ValueError, TypeError, AttributeError):
        return _NOTHING
    return tuple(counts) if all(type(n) is int and n >= 0 for n in counts) else _NOTHING


def histogram_of_counts(counts: Iterable[int], sum_s: float) -> Histogram:
    """The histogram of what lies up to each boundary, and above the one before."""
    return Histogram(tuple(accumulate(counts)), sum_s)


Labels = tuple[str, ...]  # values, in the order of the metric's own labels
Samples = dict[str, list[tuple[Labels, float | Histogram]]]  # by the metric's name
