"""Returns tasks whose lease ran out, unless the clock is what ran."""

from __future__ import annotations

from collections.abc import Sequence

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import QueueBusyError
from prismq.domain.limits import EXPIRE_CHUNK
from prismq.domain.status import TaskStatus
from prismq.storage.contract import ExpiredLease, Upkeep
from prismq.worker.acts import QUARANTINE, RECLAIM, Acts

_JUMP_S = 5.0
_LOCK_WAIT_S = 0.5  # less than those wait who renew: they go first
_IDS_TOLD = 20


class Reaper:
    """`step()` ends expired leases and says when to come again.

    When the wall clock has jumped against the monotonic one, every lease would seem expired (or none for a
    long time): the reaper then waits one lease, in which living workers renew by the new clock. While somebody holds
    the lock of the whole database, as a task may that stops its interpreter, nobody can renew: it waits then, too.
    """

    def __init__(
        self,
        upkeep: Upkeep,
        clock: Clock,
        emit: ev.Emit,
        *,
        lease_s: float,
        every_s: float = 2.0,
        acts: Acts | None = None,
        reclaims: bool = True,
    ) -> None:
        """`reclaims`: False returns nothing, for an operator who wants everything left as it is."""
        self._upkeep = upkeep
        self._acts = acts
        self._clock = clock
        self._emit = emit
        self._lease_s = lease_s
        self._every_s = every_s
        self._reclaims = reclaims
        self._offset = clock.now() - clock.monotonic()
        self._not_before = self._held_off_until = float("-inf")
        self._stepped_at = clock.monotonic()

    def step(self) -> float:
        """End what has expired, a bounded number."""
        if self._clock_has_jumped() or not self._reclaims or self._clock.monotonic() < self._held_off_until:
            return self._every_s
        try:
            expired = self._upkeep.expire_leases(self._clock.now(), wait_s=_LOCK_WAIT_S)
        except QueueBusyError:
            self.hold_off()
            return self._every_s
        self._tell(expired, "its lease ran out")
        return 0.0 if len(expired) >= EXPIRE_CHUNK else self._every_s

    def hold_off(self) -> None:
        """Nobody could write just now, so nobody is late: the living renew first, as each does within a third of a
        lease. From any thread."""
        self._held_off_until = self._clock.monotonic() + self._lease_s / 3

    def _clock_has_jumped(self) -> bool:
        mono = self._clock.monotonic()
        offset = self._clock.now() - mono
        stalled_s = mono - self._stepped_at
        self._stepped_at = mono
        # A machine that was frozen wakes with both clocks gone on: the living renew first, then the reaper looks.
        if abs(offset - self._offset) > _JUMP_S or stalled_s > max(self._lease_s / 2, 4 * self._every_s):
            self._not_before = mono + self._lease_s
        self._offset = offset
        return mono < self._not_before

    def bury(self, worker_ids: Sequence[str], reason: str) -> int:
        """Return at once what workers held that are known to be dead; how many tasks.

        Not while the clock has just jumped: the living would seem to have expired with them. What the dead held
        then runs out by itself.
        """
        total = 0
        if self._clock_has_jumped() or not self._reclaims:
            return total
        while True:
            expired = self._upkeep.expire_leases(self._clock.now(), dead_workers=worker_ids, reason=reason)
            self._tell(expired, reason)
            total += len(expired)
            if len(expired) < EXPIRE_CHUNK:
                return total

    def _tell(self, expired: list[ExpiredLease], reason: str) -> None:
        for lease in expired:
            self._emit(ev.LeaseExpired(lease.task_id, lease.type, lease.worker_id, lease.attempt, lease.to, reason))
        if self._acts is None:
            return
        held: dict[str, list[ExpiredLease]] = {}
        for lease in expired:
            held.setdefault(lease.worker_id or "unknown", []).append(lease)
            if lease.to == TaskStatus.DEAD_LETTER.value:
                why = f"it was lost with its worker {lease.attempt} times, at last with {lease.worker_id}"
                self._acts.note(QUARANTINE, str(lease.task_id), why, 1, {"type": lease.type})
        for worker_id, leases in held.items():
            ids = [lease.task_id for lease in leases[:_IDS_TOLD]]
            self._acts.note(RECLAIM, worker_id, reason, len(leases), {"ids": ids})
