"""Moving a queue from one database to another.

First everything is copied while everything runs. Then the workers are asked to stop, the source is guarded against
writes, and all of it is compared with what was copied, row by row; what differs is written again. Only when both are
the same is the target opened. Every piece of it can be repeated: a move that was killed goes on where it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from prismq.clock import Clock
from prismq.domain.errors import QueueBusyError, QueueDatabaseError
from prismq.domain.words import duration, listed, plural
from prismq.storage.contract import Store
from prismq.storage.contract.transfer import (
    MOVED,
    MoveMark,
    MoveState,
    Shape,
    Table,
)
from prismq.storage.copying import Compared, Copier, Obstacle, Step
from prismq.storage.quieting import Quieting, live_workers, wait

_ENDING_S = 30.0  # how long drained workers, who have nothing left to do, are waited for
_SETTLING_S = 60.0
_COPY = "copy"
_COPIES = 2  # the second is for what was added at the end during the first, so that less is left for the stop


class Counted(NamedTuple):
    """A table of the source: rows to be moved, and rows that nothing could be done with."""

    table: str
    rows: int
    left_out: int


class Plan(NamedTuple):
    """What a move would do. Nothing was written to make it."""

    tables: list[Counted]
    source_bytes: int
    free_bytes: int | None  # at the target; None where that cannot be seen
    running: int  # tasks that are leased now
    workers: list[str]
    obstacles: list[Obstacle]
    state: MoveState | None  # of an unfinished move that would go on
    target_is_new: bool  # no queue there yet


class Moved(NamedTuple):
    """A move that is done."""

    tables: list[Compared]
    stopped_s: float  # how long nothing could be written; 0 where an earlier run stopped it


class Move:
    """A move of all of `source` to `target`, which is empty or has this same move in it, unfinished.

    `names`: what the two are called in messages, without passwords. `report` is called with every step.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        names: tuple[str, str],
        clock: Clock,
        report: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self._source, self._target = source, target
        self._from, self._to = source.transfer, target.transfer
        self._names = names
        self._clock = clock
        self._report = report
        self._copier = Copier(self._from, self._to, names, report)

    # -- looking

    def plan(self) -> Plan:
        """Look at both, and at every row of the source. Raises QueueDatabaseError where there is nothing to move."""
        mark = self._require_movable()
        new = self._require_receptive(mark)
        tables = [Counted(t.name, self._from.count(t), self._from.left_out(t)) for t in self._present()]
        space = self._target.insight.space() if not new else None
        return Plan(
            tables,
            self._source.insight.space().used,
            space.free if space is not None else None,
            self._from.held(),
            [worker.worker_id for worker in live_workers(self._source, self._clock.now())],
            self._copier.obstacles(self._present(), sum(one.rows for one in tables)),
            mark.state if mark is not None else None,
            new,
        )

    def _present(self) -> list[Table]:
        """The tables to be moved: those of the source, but for empty ones that the target knows nothing of."""
        tables = self._from.tables()
        return [
            table for table in MOVED if table.name in tables and (self._to.columns(table) or self._from.count(table))
        ]

    def _require_movable(self) -> MoveMark | None:
        if self._source.pending():
            raise QueueDatabaseError(
                f"{self._names[0]} holds no queue of this version, so nothing was moved. Run `prismq migrate` first"
            )
        mark = self._from.mark()
        if mark is None or mark.state is MoveState.RECEIVED:
            return None
        if mark.state is MoveState.RECEIVING:
            raise QueueDatabaseError(
                f"{self._names[0]} holds half of a queue that comes from {mark.other}. Finish that move, "
                f"or give it up with `prismq move --abort`"
            )
        if mark.state is MoveState.MOVED:
            raise QueueDatabaseError(f"{self._names[0]} has already been moved, to {mark.other}")
        theirs = None if self._target.pending() else self._to.mark()
        if mark.other != self._names[1] and (theirs is None or theirs.move_id != mark.move_id):
            raise QueueDatabaseError(
                f"{self._names[0]} is already being moved to {mark.other}. Finish that move, or give it up with "
                f"`prismq move --abort`"
            )
        return mark

    def _require_receptive(self, ours: MoveMark | None) -> bool:
        """Raise QueueDatabaseError unless the queue may go there; True where there is no queue at all."""
        if self._source.name == self._target.name:
            raise QueueDatabaseError(f"{self._names[1]} is the queue itself; give another address with --to")
        if self._target.pending():
            return True
        theirs = self._to.mark()
        if theirs is not None and theirs.state is not MoveState.RECEIVED:
            if ours is not None and theirs.move_id == ours.move_id and not theirs.is_source:
                return False
            if theirs.is_source:
                raise QueueDatabaseError(f"{self._names[1]} is itself being moved, or was, to {theirs.other}")
            raise QueueDatabaseError(
                f"{self._names[1]} holds an unfinished move from {theirs.other}. Finish it, or remove what was copied "
                f"with `prismq move --abort --db {self._names[1]}`"
            )
        if theirs is not None and ours is not None and theirs.move_id == ours.move_id:
            return False  # only the source does not know yet that it is done
        there = self._to.tables()
        full = [table.name for table in MOVED if table.name in there and self._to.count(table)]
        if full:
            raise QueueDatabaseError(
                f"{self._names[1]} is not empty (there are rows in {listed(full)}), and two queues cannot become one. "
                f"Give an empty database, or for PostgreSQL another schema: ?schema=NAME"
            )
        return False

    # -- moving

    def run(self, *, by: str, timeout_s: float | None = None, with_leases: bool = False) -> Moved:
        """Move, or go on moving. `by`: who asks, which the workers are told.

        `timeout_s`: how long running tasks are waited for; after that the workers go on as before. `with_leases`:
        they are not waited for, and move as they are: their workers lose them, and they run again over there when
        their leases end. Raises QueueDatabaseError; the source is then open, unless it says otherwise.
        """
        with self._from.alone() as first, self._to_alone() as second:
            if not (first and second):
                raise QueueDatabaseError(
                    f"{self._names[0]} or {self._names[1]} is being moved by another process, or they are the same "
                    f"database by two names"
                )
            return self._run(by, timeout_s, with_leases)

    @contextmanager
    def _to_alone(self) -> Iterator[bool]:
        self._require_receptive(self._require_movable())
        if self._target.pending():
            self._target.initialise()
        with self._to.alone() as mine:
            yield mine

    def _run(self, by: str, timeout_s: float | None, with_leases: bool) -> Moved:
        mark = self._begin()
        shapes = [self._copier.shape(table) for table in self._present()]
        theirs = self._to.mark()
        if theirs is None or theirs.state is not MoveState.RECEIVED:
            if mark.state is MoveState.COPYING:
                for _ in range(_COPIES):
                    for shape in shapes:
                        self._copier.sync(shape, _COPY, live=True)
            stopped_at = self._clock.monotonic()
            if mark.state is MoveState.COPYING:
                mark, stopped_at = self._stop(mark, by, timeout_s, with_leases)
            compared = self._compare(mark, shapes)
            mark = mark._replace(state=MoveState.SWITCHING, since=self._clock.now())
            self._from.set_mark(mark)
            done = MoveMark(mark.move_id, MoveState.RECEIVED, self._names[0], self._clock.now())
            self._report(Step("switching"))
            self._to.finish(done, self._from.counters())
        else:
            compared, stopped_at = [], self._clock.monotonic()
        self._from.set_mark(mark._replace(state=MoveState.MOVED, since=self._clock.now()))
        return Moved(compared, self._clock.monotonic() - stopped_at)

    def _begin(self) -> MoveMark:
        """Both databases know of the move."""
        mark = self._from.mark()
        if mark is None or mark.state is MoveState.RECEIVED:
            mark = MoveMark(uuid.uuid4().hex, MoveState.COPYING, self._names[1], self._clock.now())
            self._from.set_mark(mark)
        theirs = self._to.mark()
        if theirs is None or theirs.move_id != mark.move_id:
            if mark.state is not MoveState.COPYING:  # what was copied is gone: everything from the beginning
                mark = mark._replace(state=MoveState.COPYING)
                self._from.reopen(mark)
            self._to.receive(MoveMark(mark.move_id, MoveState.RECEIVING, self._names[0], self._clock.now()))
        return mark

    # -- comparing

    def _compare(self, mark: MoveMark, shapes: Sequence[Shape]) -> list[Compared]:
        """The source is stopped: make both the same, and see that they are. Opens the source where it fails."""
        try:
            self._settle()
            compared = [self._copier.sync(shape, f"stop {mark.stops}", live=False) for shape in shapes]
            for one, shape in zip(compared, shapes, strict=True):
                counts = self._from.count(shape.table), self._to.count(shape.table)
                if counts != (one.rows, one.rows):
                    raise QueueDatabaseError(
                        f"{one.table} has {counts[0]:,} rows in {self._names[0]} and {counts[1]:,} in "
                        f"{self._names[1]}, and {one.rows:,} were compared. Nothing was switched"
                    )
        except BaseException:
            self._from.reopen(mark._replace(state=MoveState.COPYING, since=self._clock.now()))
            raise
        return compared

    def _settle(self) -> None:
        """What waits to be booked is booked, so that the statistics are whole."""
        end = self._clock.monotonic() + _SETTLING_S
        while self._from.unsettled():
            with self._from.writing():
                now = self._clock.now()
                booked = self._source.upkeep.book(now) or self._source.upkeep.fold(now)
            if not booked and self._clock.monotonic() >= end:
                raise QueueDatabaseError(
                    f"the counts of {self._names[0]} cannot be brought up to date: another program holds their lock. "
                    f"Nothing was switched; try again"
                )
            if not booked:
                wait(self._clock)

    # -- stopping the source

    def _stop(self, mark: MoveMark, by: str, timeout_s: float | None, with_leases: bool) -> tuple[MoveMark, float]:
        """Workers finish what they run and end; then nothing can be written any more. The mark, and since when."""
        workers = Quieting(self._source, self._clock, f"{by}: the queue moves to {self._names[1]}")
        end = None if timeout_s is None else self._clock.monotonic() + timeout_s
        try:
            while True:
                running = 0 if with_leases else workers.pause()
                if not running:
                    workers.end(0.0 if with_leases else _ENDING_S, self._report_ending)
                    stopped = mark._replace(state=MoveState.STOPPED, since=self._clock.now(), stops=mark.stops + 1)
                    at = self._clock.monotonic()
                    try:
                        running = self._from.stop(stopped, with_leases=with_leases)
                    except QueueBusyError:
                        running = -1
                    if not running:
                        return stopped, at
                if end is not None and self._clock.monotonic() >= end:
                    what = "somebody held a transaction open" if running < 0 else f"{plural(running, 'task')} still ran"
                    raise QueueDatabaseError(
                        f"after {duration(timeout_s)} {what}, so the queue was not stopped; the workers that were "
                        f"paused were told to go on. What was copied stays, and the next `prismq move` goes on from "
                        f"there: try again when less is running, or give it more time with --timeout"
                    )
                self._report(Step(f"waiting for {plural(max(running, 0), 'running task')}"))
                wait(self._clock)
        except BaseException:
            workers.resume()
            raise

    def _report_ending(self, workers: int) -> None:
        self._report(Step(f"waiting for {plural(workers, 'worker')} to end"))


def abort(store: Store, name: str, target: Store | None = None) -> str:
    """Give a move up; what was done about it, for people. `store` is its source or its target.

    The source takes writes again, and the target is emptied. `target`: the other database, where `store` is the
    source and what was copied is to be removed, too. Raises QueueDatabaseError where there is nothing to give up, or
    where it is too late.
    """
    mark = None if store.pending() else store.transfer.mark()
    if mark is None or mark.state is MoveState.RECEIVED:
        raise QueueDatabaseError(f"{name} is not being moved; nothing was changed")
    with store.transfer.alone() as mine:
        if not mine:
            raise QueueDatabaseError(f"{name} is being moved by a process that still runs; end that first")
        if mark.state is MoveState.RECEIVING:
            store.transfer.discard()
            return f"What was copied from {mark.other} to {name} is removed."
        theirs = None if target is None or target.pending() else target.transfer.mark()
        same = theirs is not None and theirs.move_id == mark.move_id
        if mark.state is MoveState.MOVED or (same and theirs is not None and theirs.state is MoveState.RECEIVED):
            raise QueueDatabaseError(
                f"{name} has been moved to {mark.other}, and tasks may run there. To go back, move that queue to "
                f"a new database"
            )
        if mark.state is MoveState.SWITCHING and target is None:
            raise QueueDatabaseError(
                f"the move of {name} to {mark.other} was interrupted in the very moment of the switch. Run it again to "
                f"finish it; or give --to as well, so that it can be seen whether the queue is open there"
            )
        if same and target is not None:
            target.transfer.discard()
        store.transfer.reopen(None)
    rest = "" if same else f" What was copied is still at {mark.other}: `prismq move --abort --db` that, to remove it."
    return f"{name} is not being moved any more, and takes writes.{rest}"
