"""Everything about remediation at one time: breakers, how often each act happened, and the last acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prismq.domain.account import AuditEntry
from prismq.domain.breaker import Breaker
from prismq.domain.times import from_epoch
from prismq.storage.contract import ActTotal, Store
from prismq.worker.acts import ACTS, BY

ACTS_SHOWN = 50
MEANINGS = {
    "reclaim": "tasks of a worker that was lost went back to their queue",
    "quarantine": "a task that was lost with its workers, attempt for attempt, went to the dead letters",
    "restart": "a worker process that crashed, stood still or grew too large was replaced",
    "breaker_open": "a type whose attempts failed was taken from what is claimed",
    "breaker_probe": "one task of such a type may be tried",
    "breaker_close": "a type is claimed again",
    "shed": "tasks beyond the bound of a queue were cancelled",
}


@dataclass(frozen=True)
class Board:
    """The breakers that keep tasks waiting and those that did, the totals of all acts, and the newest acts."""

    at: float  # seconds since 1970
    breakers: Sequence[Breaker]
    totals: Sequence[ActTotal]
    acts: Sequence[AuditEntry]
    next_before_id: int | None

    @property
    def shut(self) -> Sequence[Breaker]:
        """The breakers that keep tasks waiting."""
        return [one for one in self.breakers if one.is_shut]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "at": from_epoch(self.at).isoformat(),
            "breakers": [breaker_json(one) for one in self.breakers],
            "totals": [
                {"act": one.act, "times": one.times, "tasks": one.tasks, "last_at": from_epoch(one.last_at).isoformat()}
                for one in self.totals
            ],
            "acts": [act_json(one) for one in self.acts],
            "next_before_id": self.next_before_id,
        }


def board(store: Store, now: float, *, limit: int = ACTS_SHOWN, before_id: int | None = None) -> Board:
    """How remediation stands; acts newest first, `before_id` is the cursor of the next page. Raises
    QueueDatabaseError."""
    found = store.audit.find(action=BY, limit=limit + 1, before_id=before_id)
    known = {one.act: one for one in store.remedies.totals()}
    totals = [known.get(act, ActTotal(act, 0, 0, 0.0)) for act in ACTS]
    more = found[limit - 1].entry_id if len(found) > limit else None
    breakers = sorted(store.remedies.breakers(), key=lambda one: (not one.is_shut, one.type))
    return Board(now, breakers, [one for one in totals if one.times], found[:limit], more)


def breaker_json(breaker: Breaker) -> dict[str, Any]:
    """A breaker for programs."""
    return {
        "type": breaker.type,
        "state": breaker.state.value,
        "since": from_epoch(breaker.since).isoformat(),
        "reason": breaker.reason,
        "changed_by": breaker.changed_by,
        "opened_at": _iso(breaker.opened_at),
        "trips": breaker.trips,
        "probe_at": _iso(breaker.probe_at),
        "probe_task_id": breaker.probe_task_id,
    }


def act_json(entry: AuditEntry) -> dict[str, Any]:
    """An act for programs."""
    return {
        "id": entry.entry_id,
        "at": from_epoch(entry.at).isoformat(),
        "act": entry.action.partition(".")[2],
        "target": entry.target,
        "reason": entry.which.get("reason"),
        "by": entry.actor,
        "tasks": entry.tasks,
        "details": {key: value for key, value in entry.which.items() if key != "reason"},
    }


def _iso(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else from_epoch(epoch_s).isoformat()
