"""Tasks whose start is written before they run.

If this process dies, the store then knows which of the tasks in its hands had begun, and only those count it as an
attempt. That matters for a task whose worker died before, and for one on its last attempt: it must not end among the
dead letters without having run. See decisions/0004.
"""

from __future__ import annotations

from collections import deque

from prismq.domain.lease import Lease
from prismq.worker.attempt import Attempt

_SUSPECT_CRASHES = 2  # once may be the machine's fault; a task whose workers died twice runs with no other such


def wants_caution(lease: Lease) -> bool:
    """Whether the start of this attempt is to be written first."""
    return lease.crashes > 0 or lease.attempt >= lease.max_attempts


class Caution:
    """Holds such tasks back until a slot is free, and suspects until no other suspect runs."""

    def __init__(self) -> None:
        self._careful: deque[Attempt] = deque()
        self._suspects: deque[Attempt] = deque()
        self._suspect: Attempt | None = None

    def put(self, attempt: Attempt) -> None:
        """Hold it back."""
        (self._suspects if attempt.lease.crashes >= _SUSPECT_CRASHES else self._careful).append(attempt)

    def waiting(self, slots: int) -> int:
        """How many keep others from being claimed: suspects wait for each other, not for one of the slots."""
        return len(self._careful) + max(0, len(self._suspects) - slots)

    def can_go(self, free: int) -> bool:
        """Whether `next` would give any."""
        return (bool(self._careful) and free > 0) or self._suspect_can_go

    @property
    def _suspect_can_go(self) -> bool:
        return bool(self._suspects) and (self._suspect is None or self._suspect.ended)

    def next(self, free: int) -> list[Attempt]:
        """Those that may begin now: as many as slots are free, and at most one suspect."""
        chosen = [self._careful.popleft() for _ in range(min(free, len(self._careful)))]
        if self._suspect_can_go:
            self._suspect = self._suspects.popleft()
            chosen.append(self._suspect)
        return chosen

    def withdraw(self) -> list[Attempt]:
        """Take back every one that has not begun."""
        left = [*self._careful, *self._suspects]
        self._careful.clear()
        self._suspects.clear()
        return left
