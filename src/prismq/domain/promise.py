"""What a queue promises: how soon its tasks start. A name may say it: `within_30_seconds`, `mail_within_5_minutes`."""

from __future__ import annotations

import re
from typing import NamedTuple

from prismq.domain.errors import InvalidArgument

DEFAULT_TARGET_S = 60.0
DEFAULT_PART = 0.95
TARGET_S_MAX = 30 * 86_400.0

_UNITS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_NAMED = re.compile(r"(?:^|[^a-z0-9])within[_\- ](\d{1,6})[_\- ](second|minute|hour|day)s?(?![a-z0-9])", re.IGNORECASE)


class Promise(NamedTuple):
    """The part `part` of the tasks (0 to 1) starts within `target_s` seconds of being ready."""

    target_s: float = DEFAULT_TARGET_S
    part: float = DEFAULT_PART

    @classmethod
    def of(cls, target_s: float, part: float = DEFAULT_PART) -> Promise:
        """The promise, checked. Raises InvalidArgument: seconds are above 0 and at most 30 days, the part is from 0.5
        to 0.9999."""
        if not 0 < target_s <= TARGET_S_MAX:
            raise InvalidArgument(f"a target wait is a number of seconds above 0, at most {TARGET_S_MAX:g}")
        if not 0.5 <= part <= 0.9999:
            raise InvalidArgument(f"the part of the tasks that a promise is for is from 0.5 to 0.9999, not {part!r}")
        return cls(target_s, part)


def named_promise_s(queue: str) -> float | None:
    """The seconds within which the tasks of a queue of this name are to start; None where the name says nothing.

    The idea of naming queues by their promise: https://engineering.gusto.com/scaling-sidekiq-at-gusto
    """
    found = _NAMED.search(queue)
    if found is None:
        return None
    seconds = int(found[1]) * _UNITS_S[found[2].lower()]
    return seconds if 0 < seconds <= TARGET_S_MAX else None


def promise_of(queue: str, default: Promise | None = None) -> Promise:
    """What the queue's name promises, else `default`."""
    default = default or Promise()
    seconds = named_promise_s(queue)
    return default if seconds is None else default._replace(target_s=seconds)
