"""What a queue promises: how soon its tasks start. A name may say it: `within_30_seconds`, `mail_within_5_minutes`.

The settings may say it, too, and go before the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from prismq.domain.errors import InvalidArgument

DEFAULT_TARGET_S = 60.0
DEFAULT_PART = 0.95
TARGET_S_MAX = 30 * 86_400.0
PART_MIN, PART_MAX = 0.5, 0.9999

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
        if not PART_MIN <= part <= PART_MAX:
            raise InvalidArgument(f"the part of the tasks that a promise is for is from 0.5 to 0.9999, not {part!r}")
        return cls(target_s, part)


class Given(Protocol):
    """What the settings say of one queue: its tasks start within so many seconds, and the part of them that does; None
    where the settings leave that open."""

    @property
    def target_seconds(self) -> float: ...

    @property
    def objective(self) -> float | None: ...


Promises = Mapping[str, Given]  # by queue, as the settings have them
NONE_GIVEN: Promises = MappingProxyType({})


def named_promise_s(queue: str) -> float | None:
    """The seconds within which the tasks of a queue of this name are to start; None where the name says nothing.

    The idea of naming queues by their promise: https://engineering.gusto.com/scaling-sidekiq-at-gusto
    """
    found = _NAMED.search(queue)
    if found is None:
        return None
    seconds = int(found[1]) * _UNITS_S[found[2].lower()]
    return seconds if 0 < seconds <= TARGET_S_MAX else None


def own_promise(queue: str, promises: Promises = NONE_GIVEN, default: Promise | None = None) -> Promise | None:
    """What the settings promise of this queue, else what its name does; None where neither says anything.

    Where no part is said, it is that of `default`.
    """
    default = default or Promise()
    setting = promises.get(queue)
    if setting is not None:
        objective = default.part if setting.objective is None else setting.objective
        return Promise(setting.target_seconds, min(PART_MAX, max(PART_MIN, objective)))
    seconds = named_promise_s(queue)
    return None if seconds is None else default._replace(target_s=seconds)


def promise_of(queue: str, default: Promise | None = None, promises: Promises = NONE_GIVEN) -> Promise:
    """The queue's own promise, by the settings or by its name, else `default`."""
    return own_promise(queue, promises, default) or default or Promise()


def strictest(promises: Iterable[Promise], default: Promise | None = None) -> Promise:
    """One that holds for all of them, of the shortest time and the greatest part: slots that serve all take what is
    first. `default` where there are none."""
    found = list(promises)
    if not found:
        return default or Promise()
    return Promise(min(one.target_s for one in found), max(one.part for one in found))
