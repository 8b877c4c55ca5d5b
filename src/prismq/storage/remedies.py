"""Breakers and the record of acts, on either engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prismq.domain.account import AuditEntry
from prismq.domain.breaker import Breaker, BreakerState
from prismq.storage.contract.audit import AuditLog
from prismq.storage.contract.remedies import ActTotal
from prismq.storage.tables import Tables

_ALL = """
SELECT type, state, since_utc, reason, changed_by, opened_at_utc, trips, probe_at_utc, probe_task_id
  FROM breakers ORDER BY type
"""
_ONE = """
SELECT type, state, since_utc, reason, changed_by, opened_at_utc, trips, probe_at_utc, probe_task_id
  FROM breakers WHERE type = :type
"""
_ADD = """
INSERT INTO breakers (type, state, since_utc, reason, changed_by, opened_at_utc, trips, probe_at_utc, probe_task_id)
VALUES (:type, :state, :since, :reason, :by, :opened, :trips, :probe_at, :probe)
ON CONFLICT (type) DO NOTHING
"""
_CHANGE = """
UPDATE breakers
   SET state = :state, since_utc = :since, reason = :reason, changed_by = :by, opened_at_utc = :opened, trips = :trips,
       probe_at_utc = :probe_at, probe_task_id = :probe
 WHERE type = :type AND state = :was AND trips = :trips_before
"""
_COUNT = """
INSERT INTO remediation_totals AS r (act, times, tasks, last_utc) VALUES (:act, 1, :tasks, :now)
ON CONFLICT (act) DO UPDATE
   SET times = r.times + 1, tasks = r.tasks + excluded.tasks, last_utc = excluded.last_utc
"""
_TOTALS = "SELECT act, times, tasks, last_utc FROM remediation_totals ORDER BY act"
_LOWEST = """
SELECT id FROM task_queue WHERE status = 'queued' AND queue = :queue ORDER BY priority DESC, id DESC LIMIT :most
"""
# A loose index scan: one look-up a priority, and then the first of each.
_PRIORITIES = """
WITH RECURSIVE found (priority) AS (
    SELECT min(priority) FROM task_queue WHERE status = 'queued' AND queue = :queue
    UNION ALL
    SELECT (SELECT min(t.priority) FROM task_queue AS t
             WHERE t.status = 'queued' AND t.queue = :queue AND t.priority > found.priority)
      FROM found WHERE found.priority IS NOT NULL
)
SELECT priority FROM found WHERE priority IS NOT NULL
"""
_OLDEST = """
SELECT id FROM task_queue
 WHERE status = 'queued' AND queue = :queue AND priority = :priority ORDER BY id LIMIT :most
"""


class Remedies:
    """The RemedyStore protocol."""

    def __init__(self, tables: Tables, audit: AuditLog) -> None:
        self._tables = tables
        self._audit = audit

    def breakers(self) -> list[Breaker]:
        """See RemedyStore.breakers."""
        return [self._breaker(row) for row in self._tables.rows(_ALL)]

    def breaker(self, type_: str) -> Breaker | None:
        """See RemedyStore.breaker."""
        rows = self._tables.rows(_ONE, type=type_)
        return self._breaker(rows[0]) if rows else None

    def put_breaker(self, breaker: Breaker, *, instead_of: Breaker | None) -> bool:
        """See RemedyStore.put_breaker."""
        values = {
            "type": breaker.type,
            "state": breaker.state.value,
            "since": self._tables.at(breaker.since),
            "reason": breaker.reason,
            "by": breaker.changed_by,
            "opened": self._at(breaker.opened_at),
            "trips": breaker.trips,
            "probe_at": self._at(breaker.probe_at),
            "probe": breaker.probe_task_id,
        }
        if instead_of is None:
            return self._tables.run(_ADD, **values) > 0
        was = {"was": instead_of.state.value, "trips_before": instead_of.trips}
        return self._tables.run(_CHANGE, **values, **was) > 0

    def note(self, act: str, tasks: int, entry: AuditEntry | None, now: float) -> None:
        """See RemedyStore.note."""
        with self._tables.transaction():
            self._tables.run(_COUNT, act=act, tasks=tasks, now=self._tables.at(now))
            if entry is not None:
                self._audit.add(entry)

    def totals(self) -> list[ActTotal]:
        """See RemedyStore.totals."""
        back = self._tables.back
        return [ActTotal(act, times, tasks, back(last)) for act, times, tasks, last in self._tables.rows(_TOTALS)]

    def waiting_ids(self, queue: str, at_most: int, *, lowest: bool) -> Sequence[int]:
        """See RemedyStore.waiting_ids."""
        if lowest:
            return [task_id for (task_id,) in self._tables.rows(_LOWEST, queue=queue, most=at_most)]
        found: list[int] = []
        for (priority,) in self._tables.rows(_PRIORITIES, queue=queue):
            found += [
                task_id for (task_id,) in self._tables.rows(_OLDEST, queue=queue, priority=priority, most=at_most)
            ]
        return sorted(found)[:at_most]

    def _at(self, epoch_s: float | None) -> Any:
        return None if epoch_s is None else self._tables.at(epoch_s)

    def _back(self, moment: Any) -> float | None:
        return None if moment is None else self._tables.back(moment)

    def _breaker(self, row: tuple[Any, ...]) -> Breaker:
        type_, state, since, reason, by, opened, trips, probe_at, probe = row
        return Breaker(
            type_, BreakerState(state), self._tables.back(since), reason, by, self._back(opened), trips,
            self._back(probe_at), probe,
        )  # fmt: skip
