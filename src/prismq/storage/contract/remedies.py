"""What is put right without anybody's doing: breakers of task types, and the record of acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from prismq.domain.account import AuditEntry
from prismq.domain.breaker import Breaker


class ActTotal(NamedTuple):
    """How often something was put right since the queue was made, and how many tasks that concerned."""

    act: str
    times: int
    tasks: int
    last_at: float  # seconds since 1970


class RemedyStore(Protocol):
    """Breakers are honoured by every claim: no task of a type whose breaker is open or probing is claimed, and of one
    that is half open one task, which makes it probing and this task its probe, whoever claims. What is leased already
    goes on."""

    def breakers(self) -> list[Breaker]:
        """Every breaker that was ever opened, by type."""
        ...

    def breaker(self, type_: str) -> Breaker | None:
        """That of a type; None where it was never opened."""
        ...

    def put_breaker(self, breaker: Breaker, *, instead_of: Breaker | None) -> bool:
        """Write it, where the row is still as `instead_of` (None: there is none); False, and nothing done, where
        somebody else has changed it."""
        ...

    def note(self, act: str, tasks: int, entry: AuditEntry | None, now: float) -> None:
        """Count an act, and write it to the audit log unless `entry` is None (too many of a kind)."""
        ...

    def totals(self) -> list[ActTotal]:
        """Every act that ever happened, by name. They never fall."""
        ...

    def waiting_ids(self, queue: str, at_most: int, *, lowest: bool) -> Sequence[int]:
        """Ready tasks of a queue: the oldest, or with `lowest` those that would be claimed last by priority."""
        ...


def as_counts(totals: Sequence[ActTotal]) -> Mapping[str, int]:
    """How often each act happened."""
    return {one.act: one.times for one in totals}
