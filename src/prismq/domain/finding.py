"""What `prismq doctor` finds, and the checks that find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple


class Severity(str, Enum):
    """How much a finding matters; the value is what JSON says."""

    PROBLEM = "problem"  # tasks are lost, wrong or waiting in vain, or soon will be
    WARNING = "warning"  # look at it this week
    NOTE = "note"  # good to know; the queue counts as well all the same

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what it is, what it means, what to do; and how to mend it, where that is safe.

    `mend` does it and says in a sentence what it did. It raises QueueDatabaseError where it could not, and must be
    safe while workers run, and when several do it at once.
    """

    check: str
    severity: Severity
    what: str
    meaning: str
    advice: str
    mend: Callable[[], str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "what": self.what,
            "meaning": self.meaning,
            "advice": self.advice,
            "can_be_mended": self.mend is not None,
        }


class Check(NamedTuple):
    """Looks for one kind of fault. `run` takes the time and changes nothing."""

    name: str  # a word or two with hyphens; what --skip takes
    looks_at: str  # for the table in docs/maintenance-runbook.md
    mends: str  # what --fix does; empty where a person has to decide
    run: Callable[[float], Iterable[Finding]]
