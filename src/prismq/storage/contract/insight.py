"""Figures."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Outcomes(NamedTuple):
    """Sums of a time window for one (queue, type, outcome)."""

    queue: str
    type: str
    outcome: str
    tasks: int
    attempts: int
    retried: int
    wait_s: float
    run_s: float
    wait_bins: str | None
    run_bins: str | None


class Insight(Protocol):
    """Figures. Their cost does not depend on how many tasks there are."""

    def depth(self) -> dict[tuple[str, str, str, str], int]:
        """Tasks by (queue, type, status, band), equal to a COUNT(*) at the same moment."""
        ...

    def recount(self) -> dict[tuple[str, str, str, str], int]:
        """The same by counting the table: slow, and right whatever the books say."""
        ...

    def outcomes(self, since: float, until: float) -> list[Outcomes]:
        """What ended (and was enqueued, retried, lost) between the two times, to the slot's resolution."""
        ...

    def oldest_ready_s(self, now: float) -> float | None:
        """How long the longest-waiting ready task has been ready, in seconds; None where none is.

        Judged by the first tasks of each queue and priority, a bounded number."""
        ...
