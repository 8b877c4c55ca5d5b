"""Taking a whole queue out of one database and putting it into another; see storage/move.py for the procedure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Protocol

# A row as SQLite would hold it: times and JSON as text, flags as 0 or 1. Values in the order of Shape.columns.
Row = tuple[Any, ...]
Key = tuple[Any, ...]

# What the guards of a move say begins so; the engines pass it on as it is.
GUARDED = "this queue "


class Table(NamedTuple):
    """A table that is moved.

    `of_task`: its rows belong to a task, and none is moved without it. `counter`: a column whose numbers the database
    gives out. `unique`: a column, beside the key, that no two rows share.
    """

    name: str
    key: tuple[str, ...]
    of_task: bool = False
    counter: str | None = None
    unique: str | None = None


# Every table of both schemas is here or in LEFT; a test compares. Tasks first, then what refers to them.
MOVED: tuple[Table, ...] = (
    Table("task_queue", ("id",), counter="id", unique="idempotency_key"),
    Table("unique_keys", ("unique_key",), of_task=True),
    Table("task_attempts", ("task_id", "fencing_token"), of_task=True),
    Table("task_spans", ("task_id", "fencing_token"), of_task=True),
    Table("task_logs", ("log_id",), of_task=True, counter="log_id"),
    Table("workers", ("worker_id",)),
    Table("worker_commands", ("command_id",), counter="command_id"),
    Table("ends_by_worker", ("worker_id",)),
    Table("queues", ("queue",)),
    Table("schedules", ("schedule",)),
    Table("task_stats", ("span_s", "slot_utc", "queue", "type", "outcome")),
    Table("api_tokens", ("token_id",), counter="token_id", unique="name"),
    Table("audit_log", ("entry_id",), counter="entry_id"),
    Table("alerts", ("alert_id",), counter="alert_id"),
    Table("alert_notices", ("notice_id",), counter="notice_id"),
    Table("alert_silences", ("silence_id",), counter="silence_id"),
    Table("breakers", ("type",)),
    Table("remediation_totals", ("act",)),
    Table("service_samples", ("series", "span_s", "slot_utc")),
    Table("task_totals", ("queue", "type", "outcome"), counter="total_id"),
)

# To delete one of its rows is to delete the rows that refer to it, so they are updated.
OWNER = "task_queue"

# What is not moved, and why nothing is lost by it.
LEFT: Mapping[str, str] = {
    "books": "how far the counts reach: all tasks are counted anew where they arrive",
    "queue_depth": "counted anew where the tasks arrive",
    "queue_depth_deltas": "folded into queue_depth first",
    "task_hours": "made of task_stats, where they arrive, from then on",
    "task_stats_deltas": "folded into task_stats first",
    "ends_by_hand": "booked in task_stats first",
    "duties": "taken anew by whoever works there",
    "alert_channels": "known anew with the next delivery",
    "canaries": "enqueued anew",
    "sessions": "people sign in again",
    "schema_migrations": "each database has its own",
    "prismq_migrations": "each database has its own",
    "prismq_move": "the mark of the move itself",
    "prismq_move_progress": "how far the move itself is",
}


class Kind(str, Enum):
    """What a column takes."""

    ANY = "any"  # whatever a row holds
    WHOLE = "a whole number of 64 bits"
    SMALL = "a whole number of 32 bits"
    NUMBER = "a number"
    TEXT = "text"
    JSON = "JSON"
    TIME = "a time"
    FLAG = "0 or 1"


@dataclass(frozen=True)
class Shape:
    """A table with the columns that both databases have; generated ones make themselves."""

    table: Table
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]

    @cached_property
    def key_at(self) -> tuple[int, ...]:
        """Where in a row the columns of the key are."""
        return tuple(self.columns.index(name) for name in self.table.key)

    def key_of(self, row: Row) -> Key:
        """The row's key."""
        return tuple(row[at] for at in self.key_at)


class MoveState(str, Enum):
    """How far a move is, as each of its two databases knows it."""

    COPYING = "copying"  # source: everything runs, and what there is is copied
    STOPPED = "stopped"  # source: takes no writes; the rest is copied, and all is compared
    SWITCHING = "switching"  # source: the target is about to be opened, or was
    MOVED = "moved"  # source: the queue is at the target
    RECEIVING = "receiving"  # target: takes no writes but the move's
    RECEIVED = "received"  # target: open, and the queue is here

    def __str__(self) -> str:
        return self.value


class MoveMark(NamedTuple):
    """What a database knows of a move that it is part of. `other` names the other database, without a password."""

    move_id: str
    state: MoveState
    other: str
    since: float  # seconds since 1970: of this state
    stops: int = 0  # how often the source was stopped: what was compared before it was opened again does not count

    @property
    def is_source(self) -> bool:
        """Whether the queue is, or was, here at first."""
        return self.state not in (MoveState.RECEIVING, MoveState.RECEIVED)


class Progress(NamedTuple):
    """How far a pass is in a table. `checksum` is the sum of the rows' own, so that pieces may come in any size."""

    after: Key | None
    rows: int
    checksum: int


class Unfit(NamedTuple):
    """Why a value cannot be held here, and what to do about it."""

    column: str
    reason: str
    remedy: str


class Transfer(Protocol):
    """One database's side of a move."""

    def alone(self) -> AbstractContextManager[bool]:
        """True for one process at a time that moves this database; it ends with the process."""
        ...

    # -- what is here

    def tables(self) -> frozenset[str]:
        """The names of the tables of the queue, those of LEFT included."""
        ...

    def columns(self, table: Table) -> Mapping[str, Kind]:
        """The columns that are moved, in their order; where there is no queue yet, those it would have.

        Not those that are generated, and not what is the same in every row once the books are settled.
        """
        ...

    def count(self, table: Table) -> int:
        """How many rows there are that `read` would find."""
        ...

    def left_out(self, table: Table) -> int:
        """How many rows cannot be moved to anywhere: those of tasks that do not exist, and those without a key."""
        ...

    def read(self, shape: Shape, after: Key | None, *, until: Key | None = None, rows: int, size: int) -> list[Row]:
        """The rows that can be moved with `after` < key <= `until`, by key (text by its UTF-8 bytes).

        At most `rows`, and no more once they have some `size` bytes. Bytes that are no UTF-8 become lone surrogates.
        """
        ...

    def unfit(self, shape: Shape, row: Row) -> list[Unfit]:
        """What of a row from elsewhere cannot be held here as it is; empty where all can."""
        ...

    def held(self) -> int:
        """How many tasks are leased: claimed or processing."""
        ...

    def counters(self) -> dict[str, int]:
        """The last id given out, by table; ids of rows that are gone are never given out again."""
        ...

    def unsettled(self) -> bool:
        """Whether anything waits to be booked or added up (see Upkeep.book)."""
        ...

    # -- the mark, and the guards

    def mark(self) -> MoveMark | None:
        """What this database knows of a move; None where it is part of none, or has no queue yet."""
        ...

    def set_mark(self, mark: MoveMark) -> None:
        """Write the mark. From STOPPED on the guards say what it means to those who still write."""
        ...

    def stop(self, mark: MoveMark, *, with_leases: bool) -> int:
        """Guard every table and write the mark, STOPPED, unless tasks are leased; how many are (0: it is stopped).

        All in one transaction: a write was committed before it, or is refused. `with_leases`: whoever holds some.
        """
        ...

    def reopen(self, mark: MoveMark | None) -> None:
        """Take the guards away, and write `mark`; None removes the last trace of the move."""
        ...

    def writing(self) -> AbstractContextManager[Any]:
        """A transaction that the guards let pass."""
        ...

    # -- receiving

    def receive(self, mark: MoveMark) -> None:
        """Guard every table, switch the triggers of the books off, and write the mark, RECEIVING."""
        ...

    def write(self, shape: Shape, new: Sequence[Row], changed: Sequence[Row], gone: Iterable[Key]) -> None:
        """Inside `writing()`: insert, update (by key) and delete.

        Another row that still has the `unique` value of one of these gives way: it is of before, and is yet to come.
        """
        ...

    def missing_tasks(self, task_ids: Iterable[int]) -> set[int]:
        """Which of these tasks are not here."""
        ...

    def progress(self, name: str, table: Table) -> Progress:
        """How far the pass `name` is in the table; at its beginning where nothing was remembered."""
        ...

    def remember(self, name: str, table: Table, progress: Progress) -> None:
        """Inside `writing()`: remember it."""
        ...

    def finish(self, mark: MoveMark, counters: Mapping[str, int]) -> None:
        """Count the books, give out no id again, switch the triggers on, take the guards away: all or nothing."""
        ...

    def discard(self) -> None:
        """Delete what was received, and every trace of the move: the queue is empty again."""
        ...
