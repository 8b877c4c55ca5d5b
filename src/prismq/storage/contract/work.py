"""What a worker process needs: exchange, renew, complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, Protocol

from prismq.domain.lease import Lease, LogLine, Settlement
from prismq.domain.span import AttemptSpans
from prismq.domain.strategy import SchedulingStrategy


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
    spans: list[AttemptSpans] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.settlements or self.logs or self.progress or self.results or self.spans)


class Exchanged(NamedTuple):
    """The answer to an exchange: leases that turned out lost (by task and token), and new ones.

    `next_due`: where nothing was claimed and the store has seen it on the way, when the earliest scheduled task
    becomes due, infinite if none is scheduled; None: ask next_due().
    """

    lost: frozenset[tuple[int, int]]
    leases: list[Lease]
    next_due: float | None = None


class RenewedLease(NamedTuple):
    """A lease that a renewal found still held."""

    task_id: int
    fencing_token: int
    cancel_requested: bool


class WorkStore(Protocol):
    """What a worker process needs."""

    @property
    def is_remote(self) -> bool:
        """Whether an exchange is mostly waiting for another process; a worker then runs tasks meanwhile."""
        ...

    def exchange(self, batch: Batch, claim: ClaimRequest | None, now: float) -> Exchanged:
        """Write what the journal holds and claim more work, in one transaction.

        A settlement changes nothing unless its fencing token is the current one and the task is leased;
        those are reported as lost, with none of their log lines written. Spans are written while their task is there,
        once for each token, the last ones counting. Giving the same settlement twice
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
