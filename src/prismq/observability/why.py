"""Why is it not running? Every reason that applies to a task, the weightiest first, and when it is expected to run.

What it costs does not grow with the number of tasks: counts come from the books, the place in line is counted no
further than AHEAD_MAX, the pace is that of the last minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from prismq.domain.errors import TaskNotFound
from prismq.domain.outcome import after_lost_lease
from prismq.domain.status import LEASED, TERMINAL, TaskStatus
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import Task, TaskAttempt, TaskFilter, json_object
from prismq.domain.times import from_epoch, to_epoch
from prismq.observability.condition import (
    HEARTBEAT_S,
    LATE,
    SILENT,
    WorkerView,
    at_limit,
    crew_of,
    obstacle_for,
    running_of,
    views,
)
from prismq.observability.reasons import taken, waiting
from prismq.observability.reasons.reason import Reason
from prismq.observability.reasons.waiting import Crew
from prismq.storage.contract import ClaimRequest, QueueInfo, Store

AHEAD_MAX = 10_000  # beyond, the place in line is told from the books: at least so many, at most so many
_HOLDERS_MAX = 5  # of a limit, by name
_PACES_S = (60.0, 300.0, 3600.0)  # the shortest of these windows in which enough has ended
_ENOUGH = 20
_SUSPECT_CRASHES = 2  # from here on a worker runs it beside no other such task; see worker/caution.py
_ENDED = ("completed", "failed", "dead_letter", "retried", "snoozed")  # an attempt ended, and its slot was free again


@dataclass(frozen=True)
class Explanation:
    """Why a task is where it is. Times are seconds since 1970.

    `expected_at`: when it should start; None where that cannot be known, or where a reason blocks it. `expected`: what
    kind of a time that is: `due` (its time, to the second), `now`, `estimate` (by its place in line and the pace),
    `not_before` (an estimate from below).
    """

    task_id: int
    type: str
    queue: str
    state: str
    at: float
    reasons: tuple[Reason, ...]
    expected_at: float | None = None
    expected: str | None = None

    @property
    def sentence(self) -> str:
        """The weightiest reason, in words."""
        return self.reasons[0].text

    @property
    def blocked(self) -> bool:
        """Whether it will not run until somebody does something."""
        return any(one.blocks for one in self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "task_id": self.task_id,
            "type": self.type,
            "queue": self.queue,
            "state": self.state,
            "at_utc": from_epoch(self.at).isoformat(),
            "sentence": self.sentence,
            "blocked": self.blocked,
            "expected_at_utc": None if self.expected_at is None else from_epoch(self.expected_at).isoformat(),
            "expected": self.expected,
            "reasons": [one.to_dict() for one in self.reasons],
        }


def explain(
    store: Store, task_id: int, now: float, *, heartbeat_s: float = HEARTBEAT_S, deduplicated: bool = False
) -> Explanation:
    """Why the task is where it is. `heartbeat_s`: how often workers report. `deduplicated`: it is asked on behalf of an
    enqueue that found this task by its key.

    Raises TaskNotFound and QueueDatabaseError.
    """
    task = store.tasks.get(task_id)
    if task is None:
        raise TaskNotFound(task_id)
    status = TaskStatus(task.status)
    expected_at: float | None = None
    expected: str | None = None
    if status in TERMINAL:
        found = _ended(store, task, now)
    elif status in LEASED:
        found = _held(store, task, now, heartbeat_s)
    else:
        found, expected_at, expected = _Waiting(store, task, now, heartbeat_s).explain()
    if deduplicated:
        found.insert(0, taken.deduplicated(task))
    active = status not in TERMINAL
    found += [
        taken.holds_key(key, now)
        for key in store.insight.held_keys(task_id)
        if key.until > now or (key.pending and active)
    ]
    if any(one.blocks for one in found):
        expected_at = expected = None
    return Explanation(task_id, task.type, task.queue, task.state, now, tuple(found), expected_at, expected)


# -- it has ended


def _ended(store: Store, task: Task, now: float) -> list[Reason]:
    ended_at = _epoch(task.finished_at_utc)
    found = [taken.ended(task, _epoch(task.processing_started_utc), ended_at, now)]
    return found + [taken.attempt(one) for one in store.tasks.attempts(_id(task))]


# -- it is in a worker's hands


def _held(store: Store, task: Task, now: float, heartbeat_s: float) -> list[Reason]:
    crew = views(store.workers.all(), (), (), now, heartbeat_s)
    view = next((one for one in crew if one.worker.worker_id == task.locked_by), None)
    found: list[Reason] = []
    if task.cancel_requested_utc is not None:
        found.append(taken.cancelling(task, to_epoch(task.cancel_requested_utc), now))
    until = _epoch(task.lease_until_utc)
    then = after_lost_lease(task.attempts, task.max_attempts).value
    if task.cancel_requested_utc is not None:
        then = TaskStatus.CANCELLED.value
    late = view is None or view.condition in (LATE, SILENT) or not view.live
    if late:
        condition, age_s = (view.condition, view.age_s) if view else ("unknown", None)
        found.append(taken.heartbeat_late(task.locked_by, condition, age_s, until, then, now))
    elif until is None or until <= now:
        found.append(taken.lease_over(until, then, now))
    if (until is None or until <= now) and not any(one.live for one in crew):
        found.append(taken.nobody_returns_it())
    since = _epoch(task.processing_started_utc)
    if task.status == TaskStatus.PROCESSING.value:
        found.append(taken.running(task, json_object(task.progress), since, now))
    else:
        row = view.worker if view else None
        slots, busy, held = (row.slots, row.busy, row.held) if row else (0, 0, 0)
        found.append(taken.claimed(task, slots, busy, held, _epoch(task.reserved_at_utc), now))
    return found


# -- it waits


class _Waiting:
    """A task that is scheduled or queued: what stands in its way, and when it should start."""

    def __init__(self, store: Store, task: Task, now: float, heartbeat_s: float) -> None:
        self._store = store
        self._task = task
        self._now = now
        standing = store.standing(now)
        self._queues = standing.queues
        self._crew = crew_of(standing, heartbeat_s)
        self._serving = [
            one for one in self._crew if one.working and one.serves(task.queue, task.type, task.compatibility)
        ]
        self._slots = sum(one.worker.slots for one in self._serving)
        self._busy = sum(one.worker.busy for one in self._serving)
        self._due_at = _epoch(task.run_after_utc)
        self._breaker = store.remedies.breaker(task.type)

    def explain(self) -> tuple[list[Reason], float | None, str | None]:
        """The reasons, when it should start, and what kind of a time that is."""
        obstacles = self._obstacles()
        blocked = any(one.blocks for one in obstacles)
        waits = self._time()
        if waits is not None:
            # What stands in its way when its time comes, stands there now.
            order = [*obstacles, waits] if blocked else [waits, *obstacles]
            return [*order, *self._suspicion()], self._due_at, "due"
        history = [*self._past(), *self._suspicion()]
        if self._task.status == TaskStatus.SCHEDULED.value and self._due_at is not None:
            # It has no place in line before somebody has seen that its time has come.
            full = self._slots > 0 and self._busy >= self._slots
            due = waiting.due(self._due_at, self._now, self._slots if full else 0)
            return [*obstacles, due, *history], None if full else self._now, None if full else "now"
        if blocked:
            return [*obstacles, *history], None, None
        if self._breaker is not None and self._breaker.is_shut:  # it has no turn before a task was tried
            probe_at = self._breaker.probe_at
            return [*obstacles, *history], probe_at, None if probe_at is None else "not_before"
        turn, start_at, kind = self._turn()
        return [*obstacles, turn, *history], start_at, kind

    def _time(self) -> Reason | None:
        """Where its time has not come: until when, and why then."""
        task, due_at, now = self._task, self._due_at, self._now
        if due_at is None or due_at <= now:
            return None
        if task.status == TaskStatus.SCHEDULED.value:
            last = self._last_attempt()
            if last is not None and last.retry_at_utc == task.run_after_utc:
                return waiting.retry(last, task, due_at, now)
            if task.error_message and task.reserved_at_utc is not None:
                return waiting.snoozed(task.error_message, due_at, now)
        return waiting.scheduled(task, due_at, now)

    def _obstacles(self) -> list[Reason]:
        task, found = self._task, []
        queue = self._queue_info()
        if queue is not None and queue.paused_at is not None:
            found.append(waiting.queue_paused(task.queue, queue.paused_by, queue.paused_at, self._now))
        if self._breaker is not None and self._breaker.is_shut:
            found.append(waiting.breaker_open(self._breaker, self._now))
        obstacle = obstacle_for(task.queue, task.type, task.compatibility, self._crew)
        if obstacle is not None:
            found.append(waiting.unserved(obstacle))
        if queue is not None and queue.max_running is not None and at_limit(queue):
            which = TaskFilter(statuses=("claimed", "processing"), queue=task.queue)
            holders = self._store.tasks.find(which, limit=_HOLDERS_MAX)
            found.append(waiting.limit_reached(task.queue, running_of(queue), queue.max_running, holders))
        return found

    def _past(self) -> list[Reason]:
        last = self._last_attempt()
        return [waiting.returned(last, self._task, self._now)] if last is not None and self._task.attempts else []

    def _suspicion(self) -> list[Reason]:
        return [waiting.suspect(self._task)] if self._task.crashes >= _SUSPECT_CRASHES else []

    def _turn(self) -> tuple[Reason, float | None, str | None]:
        """Its place in line among what its workers take, and when its turn comes at their pace."""
        task = self._task
        serving = self._serving
        queue = self._queue_info()
        # The pace of a limited queue is its own, however fast its workers are with others.
        limited = queue is not None and at_limit(queue)
        queues = (task.queue,) if limited else _queues_of(serving)
        strategy = _strategy_of(serving)
        crew = self._measure(serving, queues)
        count, at_most = self._ahead(serving, queues, strategy)
        free = crew.slots - crew.busy
        if strategy is SchedulingStrategy.WEIGHTED_RANDOM and count:
            return waiting.by_lot(count, at_most, crew), None, None
        # A row that says nothing of its slots (registered by hand) may take anything at any time.
        if not limited and (count < free or (count == 0 and not crew.slots)):
            return waiting.next_in_line(crew), self._now, "now"
        start_at = None if crew.per_s is None else self._now + (count + 1) / crew.per_s
        kind = None if start_at is None else "estimate" if at_most is None else "not_before"
        return waiting.ahead(count, at_most, strategy, crew, start_at, self._now), start_at, kind

    def _ahead(
        self, serving: Sequence[WorkerView], queues: tuple[str, ...] | None, strategy: SchedulingStrategy
    ) -> tuple[int, int | None]:
        def can_serve(type_: str, compatibility: str) -> bool:
            return any(one.knows(type_) and one.offers(compatibility) for one in serving)

        claim = ClaimRequest("why", 1, 1.0, strategy, queues, can_serve, Random(0))
        count = self._store.insight.ahead(_id(self._task), claim, AHEAD_MAX)
        if count < AHEAD_MAX:
            return count, None
        ready = sum(
            one.depth.get("queued", 0)
            for one in self._queues
            if one.paused_at is None and (queues is None or one.queue in queues)
        )
        return count, max(count, ready - 1)

    def _measure(self, serving: Sequence[WorkerView], queues: tuple[str, ...] | None) -> Crew:
        now = self._now
        started = [to_epoch(one.worker.started_at_utc) for one in serving if one.worker.started_at_utc is not None]
        youth_s = now - min(started) if len(started) == len(serving) else float("inf")
        ended, measured_s = 0, _PACES_S[-1]
        for window_s in _PACES_S:
            since = now - window_s
            found = self._store.insight.outcomes(since, now, bins=False)
            ended = sum(one.tasks for one in found if one.outcome in _ENDED and (queues is None or one.queue in queues))
            # The minute that the window begins in belongs to it; before its workers were there, nothing could end.
            measured_s = max(1.0, min(now - since + since % 60.0, youth_s))
            if ended >= _ENOUGH or youth_s <= window_s:
                break
        per_s = ended / measured_s if ended else None
        return Crew(len(serving), self._slots, min(self._busy, self._slots), per_s, measured_s)

    def _queue_info(self) -> QueueInfo | None:
        return next((one for one in self._queues if one.queue == self._task.queue), None)

    def _last_attempt(self) -> TaskAttempt | None:
        attempts = self._store.tasks.attempts(_id(self._task))
        return attempts[-1] if attempts else None


def _queues_of(serving: Sequence[WorkerView]) -> tuple[str, ...] | None:
    if any(one.queues is None for one in serving):
        return None
    return tuple(sorted({name for one in serving for name in one.queues or ()}))


def _strategy_of(serving: Sequence[WorkerView]) -> SchedulingStrategy:
    """How most of the slots choose; a row that does not say goes by priority, as the default is."""
    slots: dict[SchedulingStrategy, int] = {}
    for one in serving:
        known = {strategy.value for strategy in SchedulingStrategy}
        name = one.worker.strategy if one.worker.strategy in known else SchedulingStrategy.PRIORITY.value
        strategy = SchedulingStrategy(name)
        slots[strategy] = slots.get(strategy, 0) + max(1, one.worker.slots)
    return max(slots, key=lambda strategy: slots[strategy], default=SchedulingStrategy.PRIORITY)


def _epoch(when: Any) -> float | None:
    return None if when is None else to_epoch(when)


def _id(task: Task) -> int:
    if task.id is None:
        raise TaskNotFound(0)
    return task.id
