"""Asking the workers of a queue to stop, with the reason, and to go on if it comes to nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from prismq.clock import Clock
from prismq.domain.times import to_epoch
from prismq.domain.worker import Worker, WorkerCommand
from prismq.storage.contract import Store

_SILENT_S = 60.0  # a worker that was not heard of for so long counts as gone
_LIVE = ("active", "paused", "draining")
_LOOK_S = 0.1


def live_workers(store: Store, now: float) -> list[Worker]:
    """Those that work here and were heard of lately."""
    return [
        worker
        for worker in store.workers.all()
        if worker.worker_id
        and worker.status in _LIVE
        and worker.heartbeat_utc is not None
        and now - to_epoch(worker.heartbeat_utc) < _SILENT_S
    ]


def wait(clock: Clock) -> None:
    """A little, before looking again."""
    clock.wait(threading.Event(), _LOOK_S)


class Quieting:
    """Of one queue. `told`: what the workers say of who asked, and why."""

    def __init__(self, store: Store, clock: Clock, told: str) -> None:
        self._store, self._clock, self._told = store, clock, told
        self._paused: set[str] = set()

    def pause(self) -> int:
        """Ask those who claim to pause, and end leases that ran out; how many tasks are leased, or will be at once."""
        for worker in self._live():
            if worker.status == "active" and worker.worker_id not in self._paused:
                self._ask(worker.worker_id, WorkerCommand.PAUSE)
                self._paused.add(worker.worker_id)
        self._store.upkeep.expire_leases(self._clock.now())
        held = self._store.transfer.held()
        # One that has not paused yet may claim at any moment.
        return max(held, 1) if any(worker.status == "active" for worker in self._live()) else held

    def end(self, wait_s: float, report: Callable[[int], None]) -> None:
        """Ask all to end, and give them so many seconds; `report` gets how many still live."""
        asked: set[str] = set()
        end = self._clock.monotonic() + wait_s
        while live := self._live():
            for worker in live:
                if worker.worker_id not in asked:
                    self._ask(worker.worker_id, WorkerCommand.DRAIN)
                    asked.add(worker.worker_id)
            if self._clock.monotonic() >= end:
                return
            report(len(live))
            wait(self._clock)

    def resume(self) -> None:
        """Ask those who were asked to pause to go on."""
        for worker_id in sorted(self._paused):
            self._ask(worker_id, WorkerCommand.RESUME)

    def _live(self) -> list[Worker]:
        return live_workers(self._store, self._clock.now())

    def _ask(self, worker_id: str, command: WorkerCommand) -> None:
        self._store.workers.ask(worker_id, command, None, self._told, self._clock.now())
