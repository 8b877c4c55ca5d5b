"""The books: counts and statistics, kept by whoever changes a task, in the same transaction.

A Ledger is one transaction's entries, summed and appended once. Appended, not added to a counter: many processes
write at the same time and none may wait for another. Maintenance folds them; a reader adds up both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from prismq.domain.sketch import Sketch, bin_of
from prismq.domain.status import check_transition
from prismq.domain.times import from_epoch
from prismq.storage.postgres.arrays import arrays
from prismq.storage.postgres.queries import query

MINUTE_S = 60
# The lengths that a slot of the statistics may have; with age they fold from each into the next.
SPANS_S = (MINUTE_S, 600, 3600)

_ADD_DEPTH = query("add_depth")
_ADD_STATS = query("add_stats")


class Statements(Protocol):
    """What runs statements: a connection of ours, or a guest."""

    def execute(self, query: Any, params: Any = None) -> Any:
        """As psycopg's connections do."""
        ...


def band_of(priority: int) -> str:
    """The books keep three bands, not every number that somebody may use as a priority."""
    return "high" if priority < 100 else "normal" if priority == 100 else "low"


class _Ended:
    """One (queue, type, outcome) of the statistics."""

    __slots__ = ("attempts", "retried", "run", "run_s", "tasks", "wait", "wait_s")

    def __init__(self) -> None:
        self.tasks = self.attempts = self.retried = 0
        self.wait_s = self.run_s = 0.0
        self.wait, self.run = Sketch(), Sketch()


class Ledger:
    """What one transaction changes in the books. `now` is by the server's clock: PostgresDatabase.at, as seconds."""

    def __init__(self, connection: Statements, now: float) -> None:
        self._connection = connection
        self._now = now
        self._depth: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self._moved: defaultdict[tuple[str, str, int, str, str], int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], _Ended] = defaultdict(_Ended)

    def move(self, task_id: int, queue: str, type_: str, priority: int, before: str, after: str) -> None:
        """A task went from one status to another.

        Raises InvalidTransition, and with it undoes the transaction, where the life of a task does not allow it.
        """
        check_transition(task_id, before, after)
        self._moved[queue, type_, priority, before, after] += 1

    def move_all(self, ids: Sequence[int], queue: str, type_: str, priority: int, before: str, after: str) -> None:
        """The same for many tasks that are alike. `ids` is not empty."""
        check_transition(ids[0], before, after)
        self._moved[queue, type_, priority, before, after] += len(ids)

    def change(self, task_id: int, queue: str, type_: str, before: tuple[str, int], after: tuple[str, int]) -> None:
        """The same for a (status, priority) that became another; the status may be the same."""
        if before[0] != after[0]:
            check_transition(task_id, before[0], after[0])
        self._depth[queue, type_, before[0], band_of(before[1])] -= 1
        self._depth[queue, type_, after[0], band_of(after[1])] += 1

    def ended(
        self,
        queue: str,
        type_: str,
        outcome: str,
        *,
        attempts: int = 0,
        wait_s: float | None = None,
        run_s: float | None = None,
    ) -> None:
        """An attempt or a task ended as `outcome`; times in seconds, where the handler ran."""
        entry = self._ended[queue, type_, outcome]
        entry.tasks += 1
        entry.attempts += attempts
        if attempts > 1:
            entry.retried += 1
        if wait_s is not None:
            entry.wait_s += wait_s
            entry.wait.add(wait_s)
        if run_s is not None:
            entry.run_s += run_s
            entry.run.add(run_s)

    def ended_all(self, queue: str, type_: str, outcome: str, ends: Iterable[tuple[int, float, float]]) -> None:
        """The same for many whose handlers ran: (attempts, wait in seconds, run in seconds) of each."""
        entry = self._ended[queue, type_, outcome]
        wait_bins, run_bins = entry.wait.bins, entry.run.bins
        for attempts, wait_s, run_s in ends:
            entry.tasks += 1
            entry.attempts += attempts
            if attempts > 1:
                entry.retried += 1
            entry.wait_s += wait_s
            entry.run_s += run_s
            number = bin_of(wait_s)
            wait_bins[number] = wait_bins.get(number, 0) + 1
            number = bin_of(run_s)
            run_bins[number] = run_bins.get(number, 0) + 1

    def close(self) -> None:
        """Write what was summed; the last thing before the commit."""
        for (queue, type_, priority, before, after), tasks in self._moved.items():
            band = band_of(priority)
            self._depth[queue, type_, before, band] -= tasks
            self._depth[queue, type_, after, band] += tasks
        changed = [(*key, delta) for key, delta in self._depth.items() if delta]
        if changed:
            self._connection.execute(_ADD_DEPTH, arrays(changed))
        if self._ended:
            slot = from_epoch(self._now - self._now % MINUTE_S)
            rows = [
                (
                    *key, e.tasks, e.attempts, e.retried, e.wait_s, e.run_s,
                    e.wait.to_json() if e.wait.count else None, e.run.to_json() if e.run.count else None,
                )
                for key, e in self._ended.items()
            ]  # fmt: skip
            self._connection.execute(_ADD_STATS, (slot, *arrays(rows)))
