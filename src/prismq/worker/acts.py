"""Notes what was put right without anybody's doing: an event, a count, and a line in the audit log."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.account import AuditEntry
from prismq.domain.errors import QueueDatabaseError
from prismq.storage.contract.remedies import RemedyStore

BY = "remediation"
# The names of acts: labels of a metric, and what follows `remediation.` in the audit log.
RECLAIM, QUARANTINE, RESTART = "reclaim", "quarantine", "restart"
BREAKER_OPEN, BREAKER_PROBE, BREAKER_CLOSE, SHED = "breaker_open", "breaker_probe", "breaker_close", "shed"
ACTS = (RECLAIM, QUARANTINE, RESTART, BREAKER_OPEN, BREAKER_PROBE, BREAKER_CLOSE, SHED)

ENTRIES_A_MINUTE = 30  # of an act, by one process: a host that dies is told once, not for each of its thousand tasks


class Acts:
    """`note` never raises: that it could not be written down is no reason not to do it."""

    def __init__(self, remedies: RemedyStore, clock: Clock, emit: ev.Emit) -> None:
        self._remedies = remedies
        self._clock = clock
        self._emit = emit
        self._written: dict[str, deque[float]] = {}

    def note(self, act: str, target: str, reason: str, tasks: int = 0, which: Mapping[str, Any] | None = None) -> None:
        """`target`: a task's id, a type, a queue or a worker; `which`: more of it, for the audit log."""
        self._emit(ev.Remediated(act, target, reason, tasks))
        now = self._clock.now()
        entry = None
        if self._may_write(act):
            conditions = {"reason": reason, **(which or {})}
            entry = AuditEntry(BY, f"{BY}.{act}", now, target, conditions, tasks, via="system")
        try:
            self._remedies.note(act, tasks, entry, now)
        except QueueDatabaseError:  # the log has it
            return

    def _may_write(self, act: str) -> bool:
        mono = self._clock.monotonic()
        written = self._written.setdefault(act, deque(maxlen=ENTRIES_A_MINUTE))
        if len(written) == ENTRIES_A_MINUTE and mono - written[0] < 60:
            return False
        written.append(mono)
        return True
