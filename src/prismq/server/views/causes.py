"""Failures grouped by what they have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from prismq.domain.task import Task
from prismq.domain.words import first_line

_CAUSE_CHARS_MAX = 200
# What differs from one task to the next although the cause is the same.
_VARYING = re.compile(
    r"""0x[0-9a-fA-F]+                                   # addresses
      | \b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b              # UUIDs
      | \b[0-9a-fA-F]{16,}\b                             # digests
      | '[^']{0,200}' | "[^"]{0,200}"                    # values in quotes
      | (?<![\w.])/[\w./-]{2,}                           # paths
      | \d+(?:[.,:]\d+)*                                 # numbers, times, addresses of hosts
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Cause:
    """Tasks that failed alike. `words`: text that all their messages hold, to search for; empty where none is."""

    text: str
    type: str
    queue: str
    tasks: int
    statuses: tuple[str, ...]
    newest: Task
    last_at: datetime | None
    words: str

    @property
    def share_key(self) -> str:
        """For the page's own order."""
        return f"{self.type}\n{self.text}"


def cause_of(message: str | None) -> str:
    """What is left of an error message without what varies."""
    line = first_line(message or "")[:_CAUSE_CHARS_MAX]
    return _VARYING.sub("…", line) or "no reason given"


def words_of(message: str | None) -> str:
    """The longest piece of the message that does not vary."""
    line = first_line(message or "")[:_CAUSE_CHARS_MAX]
    pieces = [piece.strip() for piece in _VARYING.split(line)]
    return max(pieces, key=len, default="")


def grouped(tasks: Iterable[Task]) -> list[Cause]:
    """The failed tasks by type and cause, the largest group first."""
    groups: dict[tuple[str, str], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.type, cause_of(task.error_message)), []).append(task)
    found = []
    for (type_, text), some in groups.items():
        newest = max(some, key=lambda task: (task.finished_at_utc is not None, task.finished_at_utc, task.id or 0))
        found.append(
            Cause(
                text, type_, newest.queue, len(some), tuple(sorted({task.status for task in some})), newest,
                newest.finished_at_utc, words_of(newest.error_message),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.tasks, one.type, one.text))
