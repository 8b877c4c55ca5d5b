"""Breakers and shedding: judged by one process for all, whichever it is; see acts.py for how it is told."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from prismq.clock import Clock
from prismq.domain.breaker import (
    Breaker,
    BreakerRule,
    BreakerState,
    Endings,
    Probe,
    next_state,
)
from prismq.domain.status import LEASED, TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import to_epoch
from prismq.domain.words import plural
from prismq.storage.contract import Store
from prismq.worker.acts import BREAKER_CLOSE, BREAKER_OPEN, BREAKER_PROBE, BY, SHED, Acts

DUTY = "remediation"
EVERY_S = 5.0
_DUTY_S = 30.0
_MINUTE_S = 60.0
SHED_CHUNK = 1_000  # a look, so that no step is long
_FAILED = ("failed", "dead_letter", "retried")


@dataclass(frozen=True)
class ShedRule:
    """No more than `max_waiting` ready tasks of a queue; beyond that, the oldest or those of the lowest priority are
    cancelled."""

    max_waiting: int
    drop: Literal["oldest", "lowest"] = "oldest"


@dataclass(frozen=True)
class RemedyPlan:
    """What is put right besides processes. `breaker`: None: breakers open by hand alone. `reclaim`: tasks of lost
    workers go back to their queues."""

    breaker: BreakerRule | None = None
    shed: Mapping[str, ShedRule] = field(default_factory=dict)
    reclaim: bool = True


class Remedy:
    """`step()` judges once, where this process has the duty, and says when to come again."""

    def __init__(self, store: Store, clock: Clock, acts: Acts, plan: RemedyPlan) -> None:
        self._store = store
        self._clock = clock
        self._acts = acts
        self._plan = plan
        self._holder = f"remedy-{uuid.uuid4().hex[:12]}"

    def step(self) -> float:
        """Judge breakers, and shed. Raises QueueDatabaseError."""
        now = self._clock.now()
        if self._store.duties.take(DUTY, self._holder, _DUTY_S, now):
            self._judge(now)
            for queue, rule in self._plan.shed.items():
                self._shed(queue, rule, now)
        return EVERY_S

    def close(self) -> None:
        """Let another have the duty at once. Raises QueueDatabaseError."""
        self._store.duties.give_back(DUTY, self._holder)

    # -- the breakers of types

    def _judge(self, now: float) -> None:
        rule = self._plan.breaker
        breakers = {one.type: one for one in self._store.remedies.breakers()}
        endings = endings_of(self._store, rule, now) if rule is not None else {}
        for type_ in sorted({*endings, *(name for name, one in breakers.items() if one.is_shut)}):
            breaker = breakers.get(type_)
            probe = self._probe(breaker) if breaker is not None and breaker.state is BreakerState.PROBING else None
            after = next_state(breaker, type_, endings.get(type_, Endings()), probe, rule or BreakerRule(), now, BY)
            if after is not None and self._store.remedies.put_breaker(after, instead_of=breaker):
                self._tell(after)

    def _tell(self, after: Breaker) -> None:
        if after.state is BreakerState.OPEN:
            self._acts.note(BREAKER_OPEN, after.type, after.reason, which={"trips": after.trips})
        elif after.state is BreakerState.HALF_OPEN:
            self._acts.note(BREAKER_PROBE, after.type, "one of its tasks is tried", which={"trips": after.trips})
        else:
            self._acts.note(BREAKER_CLOSE, after.type, after.reason)

    def _probe(self, breaker: Breaker) -> Probe:
        task = None if breaker.probe_task_id is None else self._store.tasks.get(breaker.probe_task_id)
        if task is None or task.id is None:
            return Probe.GONE
        status = TaskStatus(task.status)
        if status in LEASED:
            return Probe.RUNNING
        if status is TaskStatus.COMPLETED:
            return Probe.SUCCEEDED
        if status in (TaskStatus.FAILED, TaskStatus.DEAD_LETTER):
            return Probe.FAILED
        attempts = self._store.tasks.attempts(task.id)
        ended = attempts[-1].finished_at_utc if attempts else None
        # It waits again: because it failed, or because its worker gave it back.
        return Probe.FAILED if ended is not None and to_epoch(ended) >= breaker.since - 1 else Probe.GONE

    # -- shedding

    def _shed(self, queue: str, rule: ShedRule, now: float) -> None:
        waiting = sum(
            tasks
            for (name, _, status, _), tasks in self._store.insight.depth().items()
            if name == queue and status == TaskStatus.QUEUED.value
        )
        excess = waiting - rule.max_waiting
        if excess <= 0:
            return
        ids = self._store.remedies.waiting_ids(queue, min(excess, SHED_CHUNK), lowest=rule.drop == "lowest")
        which = TaskFilter(ids=tuple(ids), statuses=(TaskStatus.QUEUED.value,))
        dropped = self._store.tasks.cancel(which, now).cancelled if ids else 0
        if dropped:
            whose = "the oldest" if rule.drop == "oldest" else "those of the lowest priority"
            reason = f"{plural(waiting, 'task')} waited, and {rule.max_waiting:,} may: {whose} were cancelled"
            self._acts.note(SHED, queue, reason, dropped, {"max_waiting": rule.max_waiting, "drop": rule.drop})


def endings_of(store: Store, rule: BreakerRule, now: float) -> dict[str, Endings]:
    """How the attempts of each type ended within the rule's window, to whole minutes of the books: what is older than
    the window is not among them."""
    since = math.ceil((now - rule.window_s) / _MINUTE_S) * _MINUTE_S
    counts: dict[str, dict[str, int]] = {}
    for one in store.insight.outcomes(max(0.0, since), now, bins=False):
        of_type = counts.setdefault(one.type, {})
        of_type[one.outcome] = of_type.get(one.outcome, 0) + one.tasks
    return {type_: _endings(of_type) for type_, of_type in counts.items()}


def _endings(counts: Mapping[str, int]) -> Endings:
    return Endings(
        counts.get("completed", 0), sum(counts.get(outcome, 0) for outcome in _FAILED), counts.get("lost", 0)
    )
