"""What is kept of a trace with the task itself: a few spans of each attempt, for a waterfall without a collector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prismq.domain.task import json_list


class AttemptSpans(NamedTuple):
    """The spans of one attempt, as a row of `task_spans`; `spans` is JSON, see `spans_of`."""

    task_id: int
    fencing_token: int
    attempt: int
    trace_id: str  # 32 hex digits
    spans: str

    def to_dict(self) -> dict[str, Any]:
        """One key per column, the spans as the list that they are; text that is no list gives `[]`."""
        return {**self._asdict(), "spans": json_list(self.spans)}


@dataclass(frozen=True)
class TaskSpan:
    """A span of an attempt. `start` is seconds since 1970; `status`: `ok`, `error` or `unset`.

    The first of an attempt is `task:execute`; `parent_id` of the others is a span before them, or one that was not
    kept. Ids are hex, as in traceparent.
    """

    attempt: int
    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: float
    duration_s: float
    status: str = "unset"
    attributes: Mapping[str, Any] = field(default_factory=dict)


def spans_of(row: AttemptSpans) -> list[TaskSpan]:
    """The spans of a row, in the order they began; what cannot be read is left out."""
    found = []
    for entry in json_list(row.spans):
        try:
            found.append(
                TaskSpan(
                    row.attempt,
                    row.trace_id,
                    str(entry["id"]),
                    entry.get("parent"),
                    str(entry["name"]),
                    float(entry["start"]),
                    float(entry["duration_s"]),
                    str(entry.get("status", "unset")),
                    dict(entry.get("attributes") or {}),
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError):  # written by hand
            continue
    return sorted(found, key=lambda span: span.start)
