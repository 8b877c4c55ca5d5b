"""The books: counts and statistics, kept by whoever changes a task, in the same transaction.

They cover tasks with id <= booked_id. A Ledger is one transaction's entries, summed and written once.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.sketch import Sketch, bin_of
from prismq.domain.status import check_transition
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.sqlite.queries import query

MINUTE_S = 60
# `now` was read before the writer's lock was had; a row enqueued in between is ready all the same. A queued row
# with a time of its own, which only a hand can write, may so begin a second early.
READY_SLACK_S = 1.0
# The lengths that a slot of the statistics may have; with age they fold from each into the next.
SPANS_S = (MINUTE_S, 600, 3600)

_TAIL_SPAN = query("tail_span")
_TAIL_END = query("tail_end")
_TAIL_COUNTS = query("tail_counts")
_MEND_TAIL = query("mend_tail")
_SET_BOOKED = query("set_booked")
_ADD_DEPTH = query("add_depth")
_ADD_STATS = query("add_stats")


def band_of(priority: int) -> str:
    """The books keep three bands, not every number that somebody may use as a priority."""
    return "high" if priority < 100 else "normal" if priority == 100 else "low"


def slot_of(now: float) -> str:
    """The minute that `now` falls into, as the table's text."""
    return epoch_to_text(now - now % MINUTE_S)[:19]


def is_slot(text: str) -> bool:
    """Whether this is the text of a minute: the time of creation may have been written by hand."""
    try:
        return epoch_to_text(text_to_epoch(text))[:19] == text
    except ValueError:
        return False


class _Ended:
    """One (slot, queue, type, outcome) of the statistics."""

    __slots__ = ("attempts", "retried", "run", "run_s", "tasks", "wait", "wait_s")

    def __init__(self) -> None:
        self.tasks = self.attempts = self.retried = 0
        self.wait_s = self.run_s = 0.0
        self.wait, self.run = Sketch(), Sketch()


class Ledger:
    """What one write transaction changes in the books. Open it first: it books the new rows."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self._slot = slot_of(now)
        self._depth: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self._moved: defaultdict[tuple[str, str, int, str, str], int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], _Ended] = defaultdict(_Ended)
        self.booked_rows = 0  # by this ledger
        self.booked_id = self._book_tail(epoch_to_text(now + READY_SLACK_S))

    def _book_tail(self, now_text: str) -> int:
        connection = self._connection
        booked, newest = connection.execute(_TAIL_SPAN).fetchone()
        if newest <= booked:
            return int(booked)
        # A bounded number a transaction; rows above are counted later, with the status they have then.
        until = newest
        if newest - booked > BOOK_CHUNK:  # ids given by hand may leave great gaps: rows are counted, not ids
            until = connection.execute(_TAIL_END, (booked, BOOK_CHUNK)).fetchone()[0] or newest
        rows = connection.execute(_TAIL_COUNTS, (booked, until, now_text)).fetchall()
        if any(row[6] for row in rows):
            connection.execute(_MEND_TAIL, (booked, until, now_text))
            rows = connection.execute(_TAIL_COUNTS, (booked, until, now_text)).fetchall()
        connection.execute(_SET_BOOKED, (until,))
        for queue, type_, status, band, slot, count, _ in rows:
            self._depth[queue, type_, status, band] += count
            self.booked_rows += count
            slot = slot if is_slot(slot) else self._slot
            connection.execute(_ADD_STATS, (slot, MINUTE_S, queue, type_, "enqueued", count, 0, 0, 0, 0, None, None, 0))
        return int(until)

    def move(self, task_id: int, queue: str, type_: str, priority: int, before: str, after: str) -> None:
        """A task went from one status to another. New rows above the booked ones are counted later, as they are.

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
            self._connection.executemany(_ADD_DEPTH, changed)
        if self._ended:
            slot = self._slot
            self._connection.executemany(
                _ADD_STATS,
                [
                    (
                        slot,
                        MINUTE_S,
                        queue,
                        type_,
                        outcome,
                        e.tasks,
                        e.attempts,
                        e.retried,
                        e.wait_s,
                        e.run_s,
                        e.wait.to_json() if e.wait.count else None,
                        e.run.to_json() if e.run.count else None,
                        0,
                    )
                    for (queue, type_, outcome), e in self._ended.items()
                ],
            )
