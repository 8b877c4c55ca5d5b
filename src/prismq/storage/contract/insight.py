"""Figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from prismq.storage.contract.work import ClaimRequest

Depth = dict[tuple[str, str, str, str], int]  # tasks by queue, type, status and band


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


class ReadyRoute(NamedTuple):
    """What some ready tasks of a queue ask of a worker, and the first of them: lowest priority number, lowest id."""

    queue: str
    type: str
    compatibility: str  # JSON
    head_id: int
    head_ready_at: float  # seconds since 1970


class HeldKey(NamedTuple):
    """A unique key that a task holds: until a time, and where `pending` until the task has ended, too."""

    key: str
    until: float  # seconds since 1970
    pending: bool


class HeldTask(NamedTuple):
    """A task that a worker has, or had. `crashes`: how often it was lost with its worker."""

    task_id: int
    queue: str
    type: str
    started_at: float | None  # seconds since 1970; None: claimed, but not started
    crashes: int


class Connections(NamedTuple):
    """This process's own connections to the store."""

    active: int  # inside a transaction or a statement
    idle: int
    total: int


class Space(NamedTuple):
    """Bytes that the store takes, and those of its volume; None where the engine cannot see the disk."""

    used: int
    free: int | None
    total: int | None


class Timings(NamedTuple):
    """Durations: how many lie up to each of measuring.BOUNDARIES_S and above the one before, and their sum."""

    counts: tuple[int, ...]  # one more than there are boundaries
    sum_s: float


class QueryFigures(NamedTuple):
    """What this process has asked of its database since it began to count."""

    statements: Mapping[str, Timings]  # by what they do; until the first row
    transactions: Mapping[str, Timings]  # committed or rolled_back
    lock_wait_s: float  # spent waiting for a lock, or for a connection where all are in use
    busy: int  # how often that wait was given up, or a statement broken off


class Insight(Protocol):
    """Figures. Their cost does not depend on how many tasks there are."""

    def depth(self) -> Depth:
        """Tasks by (queue, type, status, band), equal to a COUNT(*) at the same moment."""
        ...

    def recount(self) -> dict[tuple[str, str, str, str], int]:
        """The same by counting the table: slow, and right whatever the books say."""
        ...

    def outcomes(
        self,
        since: float,
        until: float,
        *,
        only: tuple[str, ...] | None = None,
        queues: tuple[str, ...] | None = None,
        bins: bool = True,
        waits: bool = True,
    ) -> list[Outcomes]:
        """What ended (and was enqueued, retried, lost) between the two times, to the slot's resolution.

        Tasks that were ended by hand count once their row says when, at that time; `used_up` counts those of
        `failed` that had no attempt left. `only`: of these outcomes; `queues`: of these queues. Without `bins`, those
        are left out, which costs much less; without `waits`, those of waits."""
        ...

    def totals(self, now: float) -> list[Outcomes]:
        """What ended (and was enqueued, retried, lost) since the queue was made, pairs of queue and type in the order
        in which they were first booked. A (queue, type, outcome) may come more than once: add them up.

        Never less than before: neither folding nor deleting, nor a change by hand, takes anything away. Times are
        whole microseconds, so that their sums do not depend on the order. New tasks, and tasks that were ended by
        hand, count once they are booked, which is tried here first; where others write they may come a little
        late, and a task that is deleted before that does not count at all."""
        ...

    def oldest_ready_s(self, now: float) -> float | None:
        """How long the longest-waiting ready task has been ready, in seconds; None where none is.

        Judged by the first tasks of each queue and priority, a bounded number."""
        ...

    def oldest_queued_s(self, now: float) -> float | None:
        """The age in seconds, since it was enqueued, of the oldest task that is queued; None where none is.

        Judged as in oldest_ready_s."""
        ...

    def ready_routes(self, now: float) -> list[ReadyRoute]:
        """What the ready tasks ask for, by queue, type and compatibility; paused queues included.

        A route whose tasks are all queued ahead of their time (rows written by hand) is left out, and so is a type
        whose breaker keeps its tasks: nobody is to blame for not claiming those."""
        ...

    def ahead(self, task_id: int, claim: ClaimRequest, at_most: int) -> int:
        """How many queued tasks stand before this queued one for a worker that claims so, in the order of its
        strategy, counting no further than `at_most`; WEIGHTED_RANDOM has no order, so there it is all the others.

        Only `queues`, `can_serve` and `strategy` of `claim` count. Tasks of paused queues do not stand in the way;
        those of a queue that has reached its limit do. 0 where the task is not queued."""
        ...

    def held_tasks(self, at_most: int) -> list[HeldTask]:
        """The tasks that are claimed or processing, in no order, at most so many."""
        ...

    def crashed_lately(self, since: float, at_most: int) -> list[HeldTask]:
        """Of the newest `at_most` tasks that ended without success since then: those that were lost with their worker
        more than once."""
        ...

    def held_keys(self, task_id: int) -> list[HeldKey]:
        """The unique keys that this task was the last to take, by key; whether it still holds them, see HeldKey."""
        ...

    def connections(self) -> Connections:
        """The connections of this process. Asks nothing of the store."""
        ...

    def connections_max(self) -> int | None:
        """How many connections this process may have at once; None: one for each of its threads."""
        ...

    def measure(self) -> None:
        """Count what this process asks, a few microseconds a statement. A connection that a thread of its own has
        already may be left out."""
        ...

    def queries(self) -> QueryFigures | None:
        """What was counted; None where nobody asked for it with `measure`."""
        ...

    def space(self) -> Space:
        """What the store takes on disk, and what is left there."""
        ...
