"""Duties: work that one process at a time does for all of them, whichever it is."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Duty(NamedTuple):
    """Who has a duty, and until when unless it is taken again. Times are seconds since 1970."""

    name: str
    holder: str
    rank: int
    since: float
    until: float


class DutyStore(Protocol):
    """Leases on duties. There is no leader to configure: whoever asks first has it, and keeps it while it asks again.

    A holder that dies is replaced by the next that asks once its time is over; `until` itself is over.
    """

    def take(self, name: str, holder: str, for_s: float, now: float, *, rank: int = 0) -> bool:
        """Take the duty, or keep it, for `for_s` seconds from now; False where another has it.

        A holder of a lower rank gives way at once: so the duty goes to who is better fit to do it."""
        ...

    def give_back(self, name: str, holder: str) -> bool:
        """Give it up so that the next need not wait; False where `holder` does not have it."""
        ...

    def all(self, now: float) -> list[Duty]:
        """Every duty that somebody has now, by name."""
        ...
