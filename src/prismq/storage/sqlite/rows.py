"""Rows as dataclasses, whatever a hand has written into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from prismq.domain.times import from_text

T = TypeVar("T")


def built(build: Callable[[Mapping[str, Any]], T], row: Mapping[str, Any]) -> T:
    """`build(row)`; a time written by hand that is none is shown as missing, rather than hiding the row."""
    values = dict(row)
    try:
        return build(values)
    except ValueError:
        return build({name: None if _is_no_time(name, value) else value for name, value in values.items()})


def _is_no_time(name: str, value: Any) -> bool:
    if value is None or not name.endswith("_utc"):
        return False
    try:
        from_text(str(value))
    except ValueError:
        return True
    return False
