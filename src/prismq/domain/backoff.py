"""How long a failed task waits before its next attempt."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from random import Random

from prismq.domain.errors import InvalidArgument
from prismq.domain.limits import DELAY_S_MAX


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with jitter, in seconds.

    Jitter keeps tasks that failed together from coming back together: Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015. Raises InvalidArgument, naming the field, when one is out of range.
    """

    initial_s: float = 1.0
    multiplier: float = 2.0
    cap_s: float = 300.0
    jitter: float = 0.1  # fraction of the delay, either way

    def __post_init__(self) -> None:
        _check("initial_s", self.initial_s, 0.0, DELAY_S_MAX)
        # Below 1 each wait would be shorter than the last: not a back-off.
        _check("multiplier", self.multiplier, 1.0, 1e6)
        _check("cap_s", self.cap_s, 0.0, DELAY_S_MAX)
        _check("jitter", self.jitter, 0.0, 1.0)

    def delay_s(self, attempt: int, rng: Random) -> float:
        """Wait after failed attempt `attempt` (the first is 1); at most cap_s * (1 + jitter)."""
        try:
            # float(): a whole-number multiplier would grow without end instead of overflowing.
            delay_s = min(self.cap_s, self.initial_s * float(self.multiplier) ** (max(attempt, 1) - 1))
        except OverflowError:  # attempt 1025 at the defaults; past the cap the exponent cannot matter
            delay_s = self.cap_s if self.initial_s else 0.0
        return delay_s * rng.uniform(1 - self.jitter, 1 + self.jitter)

    def to_json(self) -> str:
        """The fields as a compact JSON object, as the `backoff` column holds them."""
        fields = {
            "initial_s": self.initial_s,
            "multiplier": self.multiplier,
            "cap_s": self.cap_s,
            "jitter": self.jitter,
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Backoff:
        """Read `to_json()`; fields left out keep their defaults.

        Text that is missing, is not such an object or is out of range gives the default backoff: rows may be
        written by hand, and a bad one is no reason for a worker to stop.
        """
        if not text:
            return cls()
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):  # InvalidArgument is a ValueError
            return cls()


def _check(field: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise InvalidArgument(f"backoff: {field} must be a number from {low:g} to {high:g}, not {value!r}")
