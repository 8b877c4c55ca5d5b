"""What a store means. One narrow protocol per caller; every sentence here has a test in tests/contract.

Domain values cross this line, never SQL or rows. `now` is seconds since 1970 by the caller's clock; engines
with a clock of their own may prefer theirs. Every method raises QueueDatabaseError (or QueueBusyError) when
the store cannot do it, and has then changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, Protocol

from prismq.domain.lease import Lease, LogLine, Settlement
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import Enqueued, NewTask, Task, TaskAttempt, TaskFilter, TaskLog
from prismq.domain.worker import Worker, WorkerCommand


class Inbox(Protocol):
    """Putting work in."""

    def enqueue(self, new: NewTask, now: float) -> Enqueued:
        """Write one task; once this returns, the task is in the store (see the engine's durability).

        With an idempotency key that exists, or a unique key that is held, the earlier task is returned
        and nothing is written. Inside `transaction()` the task exists if and only if that commits.
        """
        ...

    def enqueue_many(self, news: Sequence[NewTask], now: float) -> list[Enqueued]:
        """Write all of `news`, or none where one cannot be written. Ids come in the order given."""
        ...

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """Bind this thread's enqueues to one transaction, and yield its connection.

        Without `connection` the store's own is used, and it commits at the end or rolls back on any
        exception. A caller's own connection is left to the caller to commit.
        """
        ...

    def bound(self) -> bool:
        """Whether this thread is inside `transaction()`."""
        ...


class ClaimRequest(NamedTuple):
    """What a worker can take. `can_serve(type, compatibility_json)` is pure and cached by the caller."""

    worker_id: str
    limit: int
    lease_s: float
    strategy: SchedulingStrategy
    queues: tuple[str, ...] | None  # None: every queue
    can_serve: Callable[[str, str], bool]
    rng: Random


class Progress(NamedTuple):
    """Progress of a running attempt; `text` is JSON."""

    task_id: int
    fencing_token: int
    text: str


@dataclass
class Batch:
    """What a journal has gathered since its last flush."""

    settlements: list[Settlement] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    progress: dict[int, Progress] = field(default_factory=dict)
    results: list[tuple[int, int, str | None]] = field(default_factory=list)  # (task, token, JSON), see complete_within

    def __bool__(self) -> bool:
        return bool(self.settlements or self.logs or self.progress or self.results)


class Exchanged(NamedTuple):
    """The answer to an exchange: leases that turned out lost (by task and token), and new ones."""

    lost: frozenset[tuple[int, int]]
    leases: list[Lease]


class RenewedLease(NamedTuple):
    """A lease that a renewal found still held."""

    task_id: int
    fencing_token: int
    cancel_requested: bool


class WorkStore(Protocol):
    """What a worker process needs."""

    def exchange(self, batch: Batch, claim: ClaimRequest | None, now: float) -> Exchanged:
        """Write what the journal holds and claim more work, in one transaction.

        A settlement changes nothing unless its fencing token is the current one and the task is leased;
        those are reported as lost, with none of their log lines written. Giving the same settlement twice
        (after an unknown outcome) is harmless. A claim leases at most `limit` ready tasks that the worker
        can serve, in the order of its strategy, never from a paused queue; each claim counts as an attempt
        and raises the fencing token. An empty answer does not mean an empty queue.
        """
        ...

    def renew(
        self, worker_ids: Sequence[str], lease_s: float, now: float, *, only: Sequence[int] | None = None
    ) -> list[RenewedLease]:
        """Extend the leases these workers hold to now + lease_s; the answer is what they still hold.

        `only`: just these tasks. A lease that its own worker knows nothing of is to run out.
        """
        ...

    def cancel_requests(self, worker_id: str) -> list[tuple[int, int]]:
        """(task, token) of the leases of this worker whose tasks were asked to stop."""
        ...

    def next_due(self) -> float | None:
        """When the earliest scheduled task becomes due; None where nothing is scheduled."""
        ...

    def complete_within(self, connection: Any, settlement: Settlement) -> None:
        """Complete inside the task's own open transaction. Raises LeaseLost, and changes nothing, if it is lost.

        The result follows with Batch.results; until it comes, the task shows a lease of the usual length.
        """
        ...

    def own_transaction(self) -> AbstractContextManager[Any]:
        """A write transaction on this thread's connection, for a task's own writes."""
        ...


class Cancelled(NamedTuple):
    """How many tasks were cancelled at once, and how many running ones were asked to stop."""

    cancelled: int
    cancelling: int


class TaskAdmin(Protocol):
    """Looking at tasks and acting on them: one by id, or all that match a filter."""

    def get(self, task_id: int) -> Task | None:
        """The task, or None."""
        ...

    def find(self, which: TaskFilter, *, limit: int = 100, before_id: int | None = None) -> list[Task]:
        """Newest first; `before_id` is the cursor of the next page."""
        ...

    def count(self, which: TaskFilter, *, at_most: int = 100_000) -> int:
        """How many match, counting no further than `at_most`."""
        ...

    def cancel(self, which: TaskFilter, now: float) -> Cancelled:
        """Waiting tasks become cancelled; leased ones are asked to stop."""
        ...

    def retry(self, which: TaskFilter, now: float) -> int:
        """Ended tasks are queued again with all their attempts, their history kept; others are left alone."""
        ...

    def run_now(self, which: TaskFilter, now: float) -> int:
        """Scheduled tasks become ready at once; others are left alone."""
        ...

    def reprioritise(self, which: TaskFilter, priority: int, now: float) -> int:
        """Change the priority of waiting tasks."""
        ...

    def delete(self, which: TaskFilter) -> int:
        """Remove tasks that are not leased, with their logs and attempts."""
        ...

    def attempts(self, task_id: int) -> list[TaskAttempt]:
        """The attempts that did not complete, oldest first."""
        ...

    def logs(self, task_id: int, *, limit: int = 1000, after_id: int = 0) -> list[TaskLog]:
        """Oldest first; `after_id` is the cursor for following."""
        ...


class WorkerReport(NamedTuple):
    """What a worker says of itself with each heartbeat. Counts are since its last report."""

    worker_id: str
    status: str
    slots: int
    busy: int
    held: int
    completed: int
    failed: int
    retried: int
    last_claim_at: float | None
    last_look_at: float | None
    cpu_percent: float | None
    memory_bytes: int | None
    note: str | None


class WorkerRegistry(Protocol):
    """Who works here, and what is asked of them."""

    def register(self, worker: Worker, now: float) -> None:
        """Insert or replace the worker's row; it is alive as of now."""
        ...

    def heartbeat(self, report: WorkerReport, now: float) -> bool:
        """Record a report; False where the worker's row is gone."""
        ...

    def stop(self, worker_id: str, status: str, note: str | None, now: float) -> None:
        """The worker has ended: `stopped` of its own accord, or `lost`."""
        ...

    def get(self, worker_id: str) -> Worker | None:
        """The worker, or None."""
        ...

    def all(self) -> list[Worker]:
        """Every known worker, latest heartbeat first."""
        ...

    def ask(self, worker_id: str, command: WorkerCommand, argument: int | None, by: str, now: float) -> None:
        """Leave a command for a worker."""
        ...

    def take_commands(self, worker_id: str, now: float) -> list[tuple[WorkerCommand, int | None, str]]:
        """The commands left for this worker since it last asked: (command, argument, by whom)."""
        ...

    def hint_ports(self) -> list[int]:
        """The loopback ports of live workers that want to be told of new work."""
        ...

    def forget(self, before: float) -> int:
        """Remove rows of workers that ended, or fell silent, before this time and hold nothing."""
        ...


class QueueInfo(NamedTuple):
    """A queue as an operator sees it."""

    queue: str
    paused_at: float | None
    paused_by: str | None
    max_running: int | None
    depth: Mapping[str, int]  # by status
    oldest_ready_s: float | None


class QueueAdmin(Protocol):
    """Queues: pause, resume, limit."""

    def pause(self, queue: str, by: str, now: float) -> None:
        """No task of this queue is claimed until it is resumed; running ones go on."""
        ...

    def resume(self, queue: str) -> bool:
        """False where it was not paused."""
        ...

    def limit(self, queue: str, max_running: int | None) -> None:
        """At most this many tasks of the queue run at once, whatever the number of workers; None: no limit."""
        ...

    def all(self, now: float) -> list[QueueInfo]:
        """Every queue that holds a task or a setting, by name."""
        ...


class Schedule(NamedTuple):
    """A periodic task. Times are seconds since 1970."""

    name: str
    expression: str
    timezone: str
    missed: str  # a MissedPolicy
    template: NewTask
    last_slot: float | None = None
    last_task_id: int | None = None
    paused_at: float | None = None


class ScheduleStore(Protocol):
    """Periodic tasks."""

    def declare(self, schedule: Schedule, now: float) -> None:
        """Insert it, or change its definition where it differs; what has fired is not forgotten.

        A new schedule, or one whose expression or time zone changed, fires no slot before now.
        """
        ...

    def all(self) -> list[Schedule]:
        """Every schedule, by name."""
        ...

    def fire(self, schedule: Schedule, slot: float, missed: int, now: float) -> int | None:
        """Enqueue the task of this slot and remember the slot, together; the id, or None where the slot,
        or a later one, was already fired by someone else, or the schedule is paused or gone."""
        ...

    def skip(self, name: str, slot: float) -> None:
        """Remember that slots up to `slot` were passed over."""
        ...

    def pause(self, name: str, paused: bool, now: float) -> bool:
        """False where there is no such schedule."""
        ...

    def remove(self, name: str) -> bool:
        """False where there is no such schedule."""
        ...


class ExpiredLease(NamedTuple):
    """A lease that the reaper ended."""

    task_id: int
    type: str
    worker_id: str | None
    attempt: int
    to: str  # the status the task has now


class Retention(NamedTuple):
    """How long ended tasks, and other records, are kept, in seconds."""

    completed_s: float
    failed_s: float
    logs_s: float
    workers_s: float


class Upkeep(Protocol):
    """What has to happen whether or not anyone works. Safe to run in many processes at once."""

    def expire_leases(self, now: float, *, dead_workers: Sequence[str] = (), reason: str = "") -> list[ExpiredLease]:
        """End leases that ran out, and all those of `dead_workers`: back to queued, or to the dead letters
        when the attempts are used up. At most limits.EXPIRE_CHUNK a call."""
        ...

    def prune(self, retention: Retention, now: float) -> int:
        """Delete a small batch of tasks past their retention; how many. Dead letters have their own time."""
        ...

    def fold(self, now: float) -> int:
        """Merge old statistics into longer slots; how many rows went."""
        ...

    def book(self, now: float) -> int:
        """Count new rows into the books, a bounded number a call; how many."""
        ...


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


class Store(Protocol):
    """A queue's storage: the narrow protocols above, over one database."""

    @property
    def inbox(self) -> Inbox:
        """Putting work in."""
        ...

    @property
    def work(self) -> WorkStore:
        """What workers need."""
        ...

    @property
    def tasks(self) -> TaskAdmin:
        """Looking at tasks and acting on them."""
        ...

    @property
    def workers(self) -> WorkerRegistry:
        """Who works here."""
        ...

    @property
    def queues(self) -> QueueAdmin:
        """Pause, resume, limit."""
        ...

    @property
    def schedules(self) -> ScheduleStore:
        """Periodic tasks."""
        ...

    @property
    def upkeep(self) -> Upkeep:
        """What has to happen anyway."""
        ...

    @property
    def insight(self) -> Insight:
        """Figures."""
        ...

    @property
    def name(self) -> str:
        """For people: which engine, where; without credentials."""
        ...

    def initialise(self) -> list[int]:
        """Create or upgrade the schema; the versions applied. Raises QueueSchemaError where it must not."""
        ...

    def pending(self) -> list[int]:
        """The versions that `initialise()` would apply. Raises QueueSchemaError where it must not."""
        ...

    def prepare(self) -> None:
        """Create the schema in a new, empty place. Raises QueueSchemaError where an older one wants migrating."""
        ...

    def change_mark(self) -> int:
        """A number that changes when another connection has written; cheap enough to ask often."""
        ...

    def check(self) -> None:
        """Raise QueueDatabaseError unless the store can be read and written now."""
        ...

    def close(self) -> None:
        """Let go of every connection of this process."""
        ...


def as_ids(tasks: Iterable[int]) -> TaskFilter:
    """The filter that means exactly these tasks; none, where there are none."""
    # No ids would mean no restriction. No task has the id 0.
    return TaskFilter(ids=tuple(tasks) or (0,))
