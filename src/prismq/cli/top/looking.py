"""What `prismq top` asks the queue: a look is a few cheap questions to the books, and lists with an end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prismq.app import PrismQ
from prismq.domain.errors import TaskNotFound
from prismq.domain.task import Task, TaskFilter, TaskLog
from prismq.observability.condition import WorkerView, crew_of
from prismq.observability.why import explain
from prismq.server.views.history import FAILED, RANGES, History, Slot
from prismq.server.views.queues import QueueRow, queues_page

RUNNING_MAX = 200
FAILURES_MAX = 200
LOGS_MAX = 500
HOUR = RANGES[1]  # in slots of a minute
RATE_S = 10.0  # what a rate is the mean of: less would flicker
_HEALTH_EVERY_S = 10.0  # it asks the most


class Rates(NamedTuple):
    """Tasks a second."""

    enqueued: float
    completed: float
    failed: float


@dataclass(frozen=True)
class Look:
    """What one look saw, at about one moment. `at`: seconds since 1970."""

    at: float
    name: str
    queues: Sequence[QueueRow]
    workers: Sequence[WorkerView]  # those that have not ended
    running: Sequence[Task]  # at most RUNNING_MAX, the newest
    failures: Sequence[Task]  # at most FAILURES_MAX, those that ended last first
    minutes: Sequence[Slot]  # the last hour
    rates: Mapping[str | None, Rates]  # by queue, and of all under None; empty before the second look
    queue: str | None  # the one that it is restricted to
    verdict: str  # healthy, degraded or unhealthy
    sentence: str

    @property
    def running_count(self) -> int:
        """How many tasks are in workers' hands, listed or not."""
        return sum(one.running for one in self.queues)


@dataclass(frozen=True)
class Story:
    """A task and what is known of it. `logs`: at most LOGS_MAX, the oldest of them first."""

    task: Task
    logs: Sequence[TaskLog]
    reasons: Sequence[str]
    at: float


class Lookout:
    """Looks at one queue's store; one look at a time."""

    def __init__(self, q: PrismQ, queue: str | None = None) -> None:
        self.queue = queue
        self._q = q
        self._history = History()
        self._counts: deque[tuple[float, Counter[tuple[str, str]]]] = deque()
        self._health: tuple[float, str, str] | None = None

    def look(self) -> Look:
        """Look now. Raises QueueDatabaseError where the store cannot be read."""
        q, queue = self._q, self.queue
        store, now = q.store, q.clock.now()
        standing = store.standing(now)
        page, crew = queues_page(q, self._history, standing), crew_of(standing)
        rates = self._rates(now)
        verdict, sentence = self._verdict()
        held = TaskFilter(statuses=("claimed", "processing"), queue=queue)
        return Look(
            at=now,
            name=store.name,
            queues=[row for row in page.rows if queue is None or row.name == queue],
            workers=[
                one
                for one in crew
                if one.worker.status not in ("stopped", "lost") and (queue is None or one.serves_queue(queue))
            ],
            running=store.tasks.find(held, limit=RUNNING_MAX),
            failures=store.tasks.newest_failures(queue=queue, limit=FAILURES_MAX),
            minutes=self._history.slots(store, HOUR, now),
            rates=rates,
            queue=queue,
            verdict=verdict,
            sentence=sentence,
        )

    def story(self, task_id: int) -> Story | None:
        """A task with its log, and why it is where it is; None where it is gone. Raises QueueDatabaseError."""
        store, now = self._q.store, self._q.clock.now()
        task = store.tasks.get(task_id)
        if task is None:
            return None
        logs = store.logs.newest(task_id=task_id, limit=LOGS_MAX)
        try:
            reasons = [one.text for one in explain(store, task_id, now).reasons]
        except TaskNotFound:  # deleted in between
            return None
        return Story(task, list(reversed(logs)), reasons, now)

    def _rates(self, now: float) -> dict[str | None, Rates]:
        """From what the totals grew by; they never become less."""
        at = self._q.clock.monotonic()
        counts: Counter[tuple[str, str]] = Counter()
        for one in self._q.store.insight.totals(now):
            counts[one.queue, "failed" if one.outcome in FAILED else one.outcome] += one.tasks
        while len(self._counts) > 1 and at - self._counts[1][0] >= RATE_S:
            self._counts.popleft()
        self._counts.append((at, counts))
        began, before = self._counts[0]
        if at - began <= 0:
            return {}
        found: dict[str | None, Rates] = {}
        for queue in {queue for queue, _ in counts}:
            found[queue] = Rates(
                *(
                    max(0, counts[queue, outcome] - before[queue, outcome]) / (at - began)
                    for outcome in ("enqueued", "completed", "failed")
                )
            )
        meant = list(found.values()) if self.queue is None else [found.get(self.queue, Rates(0, 0, 0))]
        found[None] = Rates(*(sum(column) for column in zip(*meant, strict=True))) if meant else Rates(0, 0, 0)
        return found

    def _verdict(self) -> tuple[str, str]:
        at = self._q.clock.monotonic()
        if self._health is None or at - self._health[0] >= _HEALTH_EVERY_S:
            health = self._q.health()
            self._health = (at, health.status, health.sentence)
        return self._health[1], self._health[2]
