"""Who works here, and what is asked of them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from prismq.domain.worker import Worker, WorkerCommand


class WorkerReport(NamedTuple):
    """What a worker says of itself with each heartbeat. Counts, and `run_s`, are since its last report."""

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
    run_s: float = 0.0  # of all attempts that ended


class WorkerRegistry(Protocol):
    """Who works here, and what is asked of them."""

    def register(self, worker: Worker, now: float) -> None:
        """Insert or replace the worker's row; it is alive as of now."""
        ...

    def heartbeat(self, report: WorkerReport, now: float) -> bool:
        """Record a report; False where the worker's row is gone."""
        ...

    def touch(self, worker_id: str, now: float, capabilities: str | None = None) -> bool:
        """The worker is alive as of now. With `capabilities` (JSON) they become its own, a row is made where there is
        none, and a worker that had ended is active again; without, False where there is no row."""
        ...

    def stop(self, worker_id: str, status: str, note: str | None, now: float) -> None:
        """The worker has ended: `stopped` of its own accord, or `lost`."""
        ...

    def get(self, worker_id: str) -> Worker | None:
        """The worker, or None. What was ended by hand in its name is among its completed and failed."""
        ...

    def all(self) -> list[Worker]:
        """Every known worker, latest heartbeat first."""
        ...

    def in_hand(self) -> dict[str, int]:
        """How many tasks are leased to each worker that has any, known or not."""
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

    def forget(self, before: float, *, holders: bool = False) -> int:
        """Remove rows of workers that ended, or fell silent, before this time and hold nothing; how many.

        `holders`: those that still hold tasks, too. Their leases run out as any other."""
        ...

    def remove(self, worker_id: str) -> bool:
        """Remove the worker's row and the commands left for it, whatever it holds; False where there is no row."""
        ...
