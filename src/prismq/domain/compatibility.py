"""Whether a worker can serve a task: what the task requires against what the worker offers.

Each required value is met by

* an equal capability,
* a capability that is a list and holds it,
* a capability that is a number and is at least as large, where both are numbers.

A required list asks for each of its members. A required null is met by a worker that does not have the
capability. Anything else a worker does not mention, it does not offer. True is not the number 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABSENT = object()


def matches(required: Mapping[str, Any], offered: Mapping[str, Any]) -> bool:
    """Whether a worker offering `offered` can serve a task that requires `required`."""
    return all(_is_met(need, offered.get(key, _ABSENT)) for key, need in required.items())


def missing(required: Mapping[str, Any], offered: Mapping[str, Any]) -> list[str]:
    """What stands between the task and the worker, one phrase per unmet need; empty where they match.

    For people: `region 'eu' (the worker offers 'us')`, `memory_gb of at least 24 (the worker offers 16)`.
    """
    words = []
    for key, need in required.items():
        offer = offered.get(key, _ABSENT)
        if _is_met(need, offer):
            continue
        if _is_number(need) and (offer is _ABSENT or _is_number(offer)):
            wanted = f"{key} of at least {need}"
        elif isinstance(need, (list, tuple)) and len(need) != 1:
            wanted = f"{key} with all of {list(need)!r}"
        else:
            wanted = f"{key} {need!r}"
        words.append(f"{wanted} (the worker offers {'none' if offer is _ABSENT else repr(offer)})")
    return words


def _is_met(need: Any, offer: Any) -> bool:
    if offer is _ABSENT:
        return need is None
    if _is_equal(need, offer):
        return True
    if _is_number(need) and _is_number(offer):
        return bool(need <= offer)
    if isinstance(need, (list, tuple)):
        offers = offer if isinstance(offer, (list, tuple)) else [offer]
        return all(_is_member(item, offers) for item in need)
    return isinstance(offer, (list, tuple)) and _is_member(need, offer)


def _is_member(value: Any, among: list[Any] | tuple[Any, ...]) -> bool:
    return any(_is_equal(value, other) for other in among)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_equal(one: Any, other: Any) -> bool:
    """Equality as JSON has it: Python takes True for 1, at any depth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_equal(one[key], other[key]) for key in one)
    return bool(one == other)
