"""Durations counted in log-spaced bins, from which any percentile can be read within 2 %.

After Masson, Rim, Lee: "DDSketch", VLDB 2019. Bin b holds values in (g^(b-1), g^b], g = (1 + e) / (1 - e);
its representative 2 g^b / (g + 1) is within the fraction e of each of them. Sketches merge by adding counts.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from math import ceil, log

from pydantic_core import from_json

from prismq.domain.errors import InvalidArgument

RELATIVE_ERROR = 0.02
# A microsecond is below what is measured, three years above what a task runs: some 800 bins at most.
VALUE_S_MIN, VALUE_S_MAX = 1e-6, 1e8

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / math.log(_GAMMA)
BIN_MIN = ceil(log(VALUE_S_MIN) * _PER_LOG)
BIN_MAX = ceil(log(VALUE_S_MAX) * _PER_LOG)


def bin_of(value_s: float) -> int:
    """The bin of `value_s` seconds; values outside 1e-6 .. 1e8, and NaN, go to the bin at that end."""
    if value_s > VALUE_S_MIN:
        return ceil(log(value_s) * _PER_LOG) if value_s < VALUE_S_MAX else BIN_MAX
    return BIN_MIN


_VALUES = [2 * _GAMMA**number / (_GAMMA + 1) for number in range(BIN_MIN, BIN_MAX + 1)]


def value_of(bin_number: int) -> float:
    """The seconds that stand for the bin, within 2 % of every value in it."""
    return _VALUES[bin_number - BIN_MIN]


class Sketch:
    """Counts by bin."""

    __slots__ = ("bins",)

    def __init__(self, bins: dict[int, int] | None = None) -> None:
        self.bins: dict[int, int] = {} if bins is None else bins

    @property
    def count(self) -> int:
        """How many values were added."""
        return sum(self.bins.values())

    def add(self, value_s: float, n: int = 1) -> None:
        """Count `value_s` seconds `n` times."""
        number = bin_of(value_s)
        self.bins[number] = self.bins.get(number, 0) + n

    def merge(self, other: Sketch) -> None:
        """Add the counts of `other`."""
        mine = self.bins
        for number, n in other.bins.items():
            mine[number] = mine.get(number, 0) + n

    def quantile(self, q: float) -> float | None:
        """Seconds that the fraction `q` (0 to 1) of the values does not exceed, within 2 %; None when empty.

        Raises InvalidArgument for another `q`.
        """
        if not 0 <= q <= 1:
            raise InvalidArgument(f"a quantile is asked for as a fraction from 0 to 1, not {q!r}")
        rank = q * (self.count - 1)
        seen = 0
        for number in sorted(self.bins):
            seen += self.bins[number]
            if seen > rank:
                return value_of(number)
        return None

    def count_within(self, seconds: float) -> int:
        """How many values are no longer than `seconds`, judged by what stands for their bins."""
        last = BIN_MIN - 1 + bisect_right(_VALUES, seconds)
        return sum(n for number, n in self.bins.items() if number <= last)

    def to_json(self) -> str:
        """`{"bin":count,…}`, compact."""
        return json.dumps(self.bins, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Sketch:
        """Read `to_json()`; text that is missing or is not such an object gives an empty sketch."""
        return cls({int(key): n for key, n in _parsed(text).items()})

    @classmethod
    def merged(cls, texts: Iterable[str | None]) -> Sketch:
        """All of what `from_json` reads from each of `texts`, together: a day's minutes in a third of the time."""
        kept = [text for text in texts if text]
        if not kept:
            return cls()
        try:
            first, *rest = from_json(f"[{','.join(kept)}]")
            bins: defaultdict[str, int] = defaultdict(int, first.items())
            for part in rest:
                for key, n in part.items():
                    bins[key] += n
            found = {int(key): n for key, n in bins.items()}
            if not found or (
                {*map(type, found.values())} == {int}
                and min(found.values()) >= 0
                and min(found) >= BIN_MIN
                and max(found) <= BIN_MAX
            ):
                return cls(found)
        except (ValueError, TypeError, AttributeError):
            pass
        # One of them is none: the others count all the same.
        sketch = cls()
        for text in kept:
            sketch.merge(cls.from_json(text))
        return sketch


def merge_json(a: str | None, b: str | None) -> str:
    """`to_json()` of both sketches together, without building either."""
    mine, theirs = _parsed(a), _parsed(b)
    for key, n in theirs.items():
        mine[key] = mine.get(key, 0) + n
    return json.dumps(mine, separators=(",", ":"))


def _parsed(text: str | None) -> dict[str, int]:
    if not text:
        return {}
    try:
        value = json.loads(text)
        if all(type(n) is int and n >= 0 and BIN_MIN <= int(key) <= BIN_MAX for key, n in value.items()):
            return value  # type: ignore[no-any-return]  # the line above saw to it
    except (ValueError, AttributeError, RecursionError):
        pass
    return {}
