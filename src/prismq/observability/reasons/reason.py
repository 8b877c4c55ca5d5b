"""What a reason is: a code and figures for programs, and the words that are made of them for people.

Keys of `data` that end in `_at` are seconds since 1970, those in `_s` seconds. A code, once given out, keeps its
meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prismq.domain.times import from_epoch
from prismq.domain.words import duration, first_line

START_ONE = "start one: prismq worker module:app"  # the advice where no worker runs


@dataclass(frozen=True)
class Reason:
    """One reason. `blocks`: until somebody does something about it, the task does not run."""

    code: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""  # what to do about it; empty where there is nothing to do
    blocks: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For programs: `_at` becomes `_at_utc` in ISO 8601, `_s` becomes `_seconds`."""
        return {
            "code": self.code,
            "text": self.text,
            "blocks": self.blocks,
            "advice": self.advice or None,
            "data": as_json(self.data),
        }


def as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with its times as text and its units in full."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key.endswith("_at"):
            found[f"{key}_utc"] = None if value is None else from_epoch(value).isoformat()
        elif key.endswith("_s"):
            seconds = value is not None and value != float("inf")
            found[f"{key[:-2]}_seconds"] = round(value, 3) if seconds else None
        else:
            found[key] = value
    return found


def at_text(epoch_s: float) -> str:
    """`2025-01-31 06:30:00 UTC`."""
    return f"{from_epoch(epoch_s).replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def moment(at: float, now: float) -> str:
    """How long it is until then, and when that is."""
    return f"in {duration(at - now)}, at {at_text(at)}"


def ago(at: float, now: float) -> str:
    """How long ago that was."""
    return f"{duration(now - at)} ago" if now - at >= 0.1 else "just now"


def what_of(kind: str | None, message: str | None) -> str:
    """What went wrong, in a line."""
    said = first_line(message or "")
    return f"{kind}: {said}" if kind and said and not said.startswith(f"{kind}:") else said or kind or "no reason given"
