"""What one transaction changes in the books, summed: the same arithmetic whichever engine writes it down."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prismq.domain.lease import Settlement
from prismq.domain.sketch import Sketch, bin_of
from prismq.domain.status import TaskStatus, check_transition
from prismq.storage.settling import outcome_of

MINUTE_S = 60
# The lengths that a slot of the statistics may have; with age they fold from each into the next.
HOUR_S, DAY_S = 3600, 86_400
SPANS_S = (MINUTE_S, 600, HOUR_S, DAY_S)
# (slots of this many seconds, older than this) become slots of that many seconds; the last are deleted.
# Minutes for three hours: a day of them would take longer to read and to merge than a page may take to load.
# Days after six weeks: a chart of 13 months is made of them, and hours would be ten thousand slots of every type.
FOLDS = ((MINUTE_S, DAY_S / 8, 600), (600, 14.0 * DAY_S, HOUR_S), (HOUR_S, 45.0 * DAY_S, DAY_S))
STATS_KEPT_S = 400.0 * DAY_S  # about 13 months
# Hours beside the statistics, so that a day is read as 24 slots; by then the statistics themselves have become hours.
HOURS_KEPT_S = 14.0 * DAY_S + 2 * HOUR_S

_WORD = {status: status.value for status in TaskStatus}  # Enum's own `value` is a call


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


class Entries:
    """Sums moves between statuses, and ends. An engine's Ledger writes them, as the last thing before the commit."""

    booked_id: float = math.inf  # tasks with a higher id are counted later, as they are then

    def __init__(self) -> None:
        self._depth: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self._moved: defaultdict[tuple[str, str, int, str, str], int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], _Ended] = defaultdict(_Ended)

    def move(self, task_id: int, queue: str, type_: str, priority: int, before: str, after: str) -> None:
        """A task went from one status to another.

        Raises InvalidTransition, and with it undoes the transaction, where the life of a task does not allow it.
        """
        check_transition(task_id, before, after)
        if task_id <= self.booked_id:
            self._moved[queue, type_, priority, before, after] += 1

    def move_all(self, ids: Sequence[int], queue: str, type_: str, priority: int, before: str, after: str) -> None:
        """The same for many tasks that are alike. `ids` is not empty."""
        check_transition(ids[0], before, after)
        booked = self.booked_id
        self._moved[queue, type_, priority, before, after] += sum([task_id <= booked for task_id in ids])

    def change(self, task_id: int, queue: str, type_: str, before: tuple[str, int], after: tuple[str, int]) -> None:
        """The same for a (status, priority) that became another; the status may be the same."""
        if before[0] != after[0]:
            check_transition(task_id, before[0], after[0])
        if task_id <= self.booked_id:
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

    def _completed(self, queue: str, type_: str, entries: Iterable[Settlement]) -> None:
        """The same for many whose handlers ran and completed."""
        sums = self._ended[queue, type_, "completed"]
        wait_bins, run_bins = sums.wait.bins, sums.run.bins
        for entry in entries:
            lease, at = entry.lease, entry.at
            started = at if entry.started_at is None else entry.started_at
            wait_s, run_s = max(0.0, started - lease.run_after), max(0.0, at - started)
            sums.tasks += 1
            sums.attempts += lease.attempt
            if lease.attempt > 1:
                sums.retried += 1
            sums.wait_s += wait_s
            sums.run_s += run_s
            number = bin_of(wait_s)
            wait_bins[number] = wait_bins.get(number, 0) + 1
            number = bin_of(run_s)
            run_bins[number] = run_bins.get(number, 0) + 1

    def settled(self, entry: Settlement, queue: str, type_: str, priority: int, before: str) -> None:
        """An attempt began, or ended, at a task that was `before`."""
        lease, started = entry.lease, entry.started_at
        self.move(lease.task_id, queue, type_, priority, before, _WORD[entry.to])
        if entry.to is TaskStatus.PROCESSING:
            return
        self.ended(
            queue,
            type_,
            outcome_of(entry),
            attempts=lease.attempt,
            wait_s=None if started is None else max(0.0, started - lease.run_after),
            run_s=None if started is None else max(0.0, entry.at - started),
        )
        if entry.error is not None and entry.error.type == "TaskTimeout":
            self.ended(queue, type_, "timed_out")
        if entry.error is not None and entry.to is TaskStatus.FAILED and lease.attempt >= lease.max_attempts:
            self.ended(queue, type_, "used_up")

    def settled_all(self, settlements: Iterable[Settlement]) -> None:
        """The same for many that were as their holders left them; those that completed alike are summed together."""
        alike: dict[tuple[str, str, int, TaskStatus], list[Settlement]] = {}
        for entry in settlements:
            lease = entry.lease
            if entry.to is TaskStatus.COMPLETED and entry.started_at is not None:
                alike.setdefault((lease.queue, lease.type, lease.priority, entry.was), []).append(entry)
                continue
            before = "claimed" if entry.to is TaskStatus.PROCESSING else _WORD[entry.was]
            self.settled(entry, lease.queue, lease.type, lease.priority, before)
        for (queue, type_, priority, was), entries in alike.items():
            self.move_all([one.lease.task_id for one in entries], queue, type_, priority, _WORD[was], "completed")
            self._completed(queue, type_, entries)

    def _depth_rows(self) -> list[tuple[Any, ...]]:
        """(queue, type, status, band, difference)."""
        for (queue, type_, priority, before, after), tasks in self._moved.items():
            band = band_of(priority)
            self._depth[queue, type_, before, band] -= tasks
            self._depth[queue, type_, after, band] += tasks
        self._moved.clear()
        return [(*key, delta) for key, delta in self._depth.items() if delta]

    def _stats_rows(self) -> Iterator[tuple[Any, ...]]:
        """(queue, type, outcome, tasks, attempts, retried, wait_s, run_s, wait_bins, run_bins); the bins as JSON."""
        for key, e in self._ended.items():
            wait = e.wait.to_json() if e.wait.count else None
            run = e.run.to_json() if e.run.count else None
            yield (*key, e.tasks, e.attempts, e.retried, e.wait_s, e.run_s, wait, run)
