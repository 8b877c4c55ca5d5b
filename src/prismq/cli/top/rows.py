"""Tables as values: what the queue is made of, in rows and columns. No terminal, no store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from prismq.cli.output import age, one_line
from prismq.cli.top.looking import Look, Rates
from prismq.cli.top.spark import spark
from prismq.domain.status import TaskStatus
from prismq.domain.task import Task, json_object
from prismq.domain.times import to_epoch
from prismq.observability.condition import LATE, NOT_CONSUMING, SILENT, WorkerView
from prismq.server.views.history import Slot
from prismq.server.views.queues import QueueRow

GAP = 2  # between two columns
_SPARK_WIDTH = 20
_STYLES = {
    "queued": "cyan",
    "scheduled": "blue",
    "claimed": "yellow",
    "processing": "green",
    "cancelling": "yellow",
    "completed": "green",
    "failed": "red",
    "dead_letter": "bold red",
    "cancelled": "dim",
    "active": "green",
    "paused": "yellow",
    "draining": "yellow",
    LATE: "yellow",
    SILENT: "bold red",
    NOT_CONSUMING: "bold red",
}


def style_of(word: str) -> str:
    """The colour of a state; none for other words."""
    return _STYLES.get(word, "")


class Cell(NamedTuple):
    """What stands in a place of a table. `by`: what it is sorted by, where that is not the text."""

    text: str
    style: str = ""
    by: float | str | None = None


class Column(NamedTuple):
    """A column. `least`: the width of the table from which it is there. `takes_rest`: it has what others leave."""

    key: str
    title: str
    right: bool = False
    least: int = 0
    takes_rest: bool = False
    falling: bool = False  # sorted by it, the greatest come first
    whole: bool = False  # never shortened, as no number is


class Row(NamedTuple):
    """A row. `key`: what it is about, as text."""

    key: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Kind:
    """A kind of table: its columns, its rows in a look, and how it is sorted unless one says otherwise."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Callable[[Look], list[Row]]
    empty: str
    sort: str | None = None  # None: as the rows come
    rest_min: int = 12  # the least width of the column that takes the rest, where others can give way


# -- queues


def _queue_rows(look: Look) -> list[Row]:
    return [Row(one.name, _queue_cells(one, look.rates.get(one.name), look.minutes)) for one in look.queues]


def _queue_cells(row: QueueRow, rates: Rates | None, minutes: Sequence[Slot]) -> dict[str, Cell]:
    depth = row.info.depth
    ready, later = depth.get("queued", 0), depth.get("scheduled", 0)
    fed, done = (row.in_rate / 60, row.out_rate / 60) if rates is None else (rates[0], rates[1] + rates[2])
    state, style = queue_state(row)
    ended = [float(slot.count(["completed"], row.name)) for slot in minutes[:-1]]
    return {
        "queue": Cell(clean(row.name)),
        "ready": Cell(f"{ready:,}", "bold" if ready else "dim", ready),
        "later": Cell(f"{later:,}", "" if later else "dim", later),
        "running": Cell(f"{row.running:,}", "green" if row.running else "dim", row.running),
        "in": Cell(per_second(fed), "" if fed else "dim", fed),
        "out": Cell(per_second(done), "" if done else "dim", done),
        "failed": Cell(f"{row.failed_hour:,}", "red" if row.failed_hour else "dim", row.failed_hour),
        "oldest": _age_cell(row.info.oldest_ready_s),
        "slots": Cell(f"{row.busy}/{row.slots}", "" if row.slots else "yellow", row.slots),
        "hour": Cell(spark(ended, _SPARK_WIDTH), "green"),
        "state": Cell(state, style),
    }


def queue_state(row: QueueRow) -> tuple[str, str]:
    """In a word or two, and its colour."""
    if row.info.paused_at is not None:
        by = f" by {clean(row.info.paused_by)}" if row.info.paused_by else ""
        return f"paused{by}", "yellow"
    if row.info.depth.get("queued", 0) and not row.slots:
        return "no worker", "bold red"
    return (f"at most {row.info.max_running}", "") if row.info.max_running is not None else ("open", "dim")


QUEUES = Kind(
    "queues",
    "Queues",
    (
        Column("queue", "QUEUE", takes_rest=True),
        Column("ready", "READY", right=True, falling=True),
        Column("later", "LATER", right=True, least=78, falling=True),
        Column("running", "RUN", right=True, falling=True),
        Column("in", "IN/s", right=True, falling=True),
        Column("out", "OUT/s", right=True, falling=True),
        Column("failed", "FAIL 1h", right=True, least=66, falling=True),
        Column("oldest", "OLDEST", right=True, falling=True),
        Column("slots", "SLOTS", right=True, least=90, falling=True),
        Column("hour", "LAST HOUR", least=100),
        Column("state", "STATE"),
    ),
    _queue_rows,
    "No queue holds a task.",
    "queue",
)


# -- workers


def _worker_rows(look: Look) -> list[Row]:
    return [Row(one.worker.worker_id, _worker_cells(one, look.at)) for one in look.workers]


def _worker_cells(view: WorkerView, now: float) -> dict[str, Cell]:
    worker = view.worker
    part = worker.busy / worker.slots if worker.slots else 0.0
    queues = "all" if view.queues is None else ", ".join(view.queues)
    return {
        "worker": Cell(clean(worker.worker_id)),
        "state": Cell(view.condition, style_of(view.condition), _urgency(view)),
        "load": Cell(f"{worker.busy}/{worker.slots} {_bar(part)}", "green" if worker.busy else "dim", part),
        "beat": _age_cell(view.age_s, late=view.condition in (LATE, SILENT)),
        "claim": _since_cell(worker.last_claim_utc, now),
        "done": Cell(f"{worker.completed:,}", "", worker.completed),
        "failed": Cell(f"{worker.failed:,}", "red" if worker.failed else "dim", worker.failed),
        "cpu": Cell("-" if worker.cpu_percent is None else f"{worker.cpu_percent:.0f}%", "", worker.cpu_percent or 0.0),
        "memory": Cell(_megabytes(worker.memory_bytes), "", worker.memory_bytes or 0),
        "up": _since_cell(worker.started_at_utc, now),
        "host": Cell(clean(f"{worker.hostname or '?'}:{worker.pid or '?'}")),
        "queues": Cell(clean(queues)),
    }


def _urgency(view: WorkerView) -> str:
    order = (NOT_CONSUMING, SILENT, LATE, "draining", "paused", "active")
    return f"{order.index(view.condition) if view.condition in order else len(order)} {view.worker.worker_id}"


def _bar(part: float, width: int = 5) -> str:
    full = min(width, round(part * width))
    return "█" * full + "·" * (width - full)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1_048_576:,.0f}M"


WORKERS = Kind(
    "workers",
    "Workers",
    (
        Column("worker", "WORKER", takes_rest=True),
        Column("state", "STATE"),
        Column("load", "LOAD", right=True, falling=True),
        Column("beat", "BEAT", right=True, falling=True),
        Column("claim", "CLAIM", right=True, falling=True),
        Column("done", "DONE", right=True, falling=True),
        Column("failed", "FAIL", right=True, falling=True),
        Column("cpu", "CPU", right=True, least=84, falling=True),
        Column("memory", "MEM", right=True, least=92, falling=True),
        Column("up", "UP", right=True, least=100, falling=True),
        Column("host", "HOST:PID", least=110),
        Column("queues", "QUEUES", least=130),
    ),
    _worker_rows,
    "No worker is running.",
    "state",
)


# -- tasks


def _running_rows(look: Look) -> list[Row]:
    return [Row(str(task.id), _running_cells(task, look.at)) for task in look.running]


def _running_cells(task: Task, now: float) -> dict[str, Cell]:
    lease_s = None if task.lease_until_utc is None else to_epoch(task.lease_until_utc) - now
    return {
        **_task_cells(task),
        "for": _held_cell(task, now),
        "progress": Cell(progress_of(task)),
        "lease": Cell("-" if lease_s is None else age(lease_s), "red" if lease_s is not None and lease_s < 0 else "",
                      lease_s or 0.0),
        "worker": Cell(clean(task.locked_by or "")),
    }  # fmt: skip


def _held_cell(task: Task, now: float) -> Cell:
    """How long it has run; one that is only claimed waits in its worker, and comes after those that run."""
    if task.status == "processing":
        return _since_cell(task.processing_started_utc, now)
    waits = _since_cell(task.reserved_at_utc, now)
    return Cell(waits.text, "dim", float(waits.by or 0.0) - 1e9)


def _task_cells(task: Task) -> dict[str, Cell]:
    return {
        "id": Cell(str(task.id), "bold", float(task.id or 0)),
        "type": Cell(clean(task.type)),
        "queue": Cell(clean(task.queue)),
        "state": Cell(task.state, style_of(task.state)),
        "try": Cell(f"{task.attempts}/{task.max_attempts}", "yellow" if task.attempts > 1 else "", task.attempts),
    }


def progress_of(task: Task) -> str:
    """How far a running task says it is: `3/10 note`, or a part of it."""
    said = json_object(task.progress)
    done, total, note = said.get("done"), said.get("total"), said.get("note")
    parts = []
    if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total:
        parts.append(f"{done / total:.0%}")
    elif isinstance(done, (int, float)):
        parts.append(f"{done:g}")
    return clean(" ".join([*parts, str(note)] if note else parts))


RUNNING = Kind(
    "running",
    "Running",
    (
        Column("id", "ID", right=True, falling=True),
        Column("type", "TYPE", takes_rest=True),
        Column("queue", "QUEUE"),
        Column("state", "STATE", whole=True),
        Column("try", "TRY", right=True, falling=True),
        Column("for", "FOR", right=True, falling=True),
        Column("progress", "PROGRESS"),
        Column("lease", "LEASE", right=True, least=100),
        Column("worker", "WORKER", least=110),
    ),
    _running_rows,
    "Nothing is running.",
    "for",
    rest_min=20,
)


def _failure_rows(look: Look) -> list[Row]:
    return [Row(str(task.id), _failure_cells(task, look.at)) for task in look.failures]


def _failure_cells(task: Task, now: float) -> dict[str, Cell]:
    return {
        **_task_cells(task),
        "ended": _since_cell(task.finished_at_utc, now),
        "error": Cell(one_line(task.error_message or "")),
    }


FAILURES = Kind(
    "failures",
    "Failures",
    (
        Column("id", "ID", right=True, falling=True),
        Column("type", "TYPE"),
        Column("queue", "QUEUE", least=100),
        Column("state", "STATE", least=70, whole=True),
        Column("try", "TRY", right=True, falling=True),
        Column("ended", "AGO", right=True),
        Column("error", "ERROR", takes_rest=True),
    ),
    _failure_rows,
    "Nothing failed.",
    "ended",
    rest_min=24,
)

KINDS = (QUEUES, WORKERS, RUNNING, FAILURES)


# -- what is shown of a table


def arranged(
    kind: Kind, rows: Sequence[Row], *, text: str = "", sort: str | None = None, turned: bool = False
) -> list[Row]:
    """The rows with `text` anywhere in them, sorted by a column; `turned`: the other way round."""
    wanted = text.casefold()
    found = [row for row in rows if not wanted or any(wanted in cell.text.casefold() for cell in row.cells.values())]
    key = sort or kind.sort
    if key is None:
        return found[::-1] if turned else found
    column = next(one for one in kind.columns if one.key == key)
    return sorted(found, key=lambda row: _order(row.cells[key]), reverse=column.falling != turned)


def _order(cell: Cell) -> tuple[bool, float | str]:
    by = cell.text.casefold() if cell.by is None else cell.by
    return isinstance(by, str), by


def next_sort(kind: Kind, shown: Sequence[Column], now: str | None) -> str:
    """The column after the one that the table is sorted by, of those that are shown."""
    keys = [column.key for column in shown]
    at = keys.index(now or kind.sort or keys[0]) if (now or kind.sort) in keys else -1
    return keys[(at + 1) % len(keys)]


def fitted(kind: Kind, rows: Sequence[Row], width: int) -> list[tuple[Column, int]]:
    """The columns that a table of this width has, and their widths: together, with gaps, not more than it.

    Where the column that takes the rest would get too little, others give way, the widest first; where even that is too
    much, the last are left out.
    """
    columns = [column for column in kind.columns if column.least <= width]
    while len(columns) > 1:
        widths = _widths(kind, columns, rows, width)
        if sum(widths.values()) + GAP * len(columns) <= width:
            return [(column, widths[column.key]) for column in columns]
        columns.remove(next(column for column in reversed(columns) if not column.takes_rest))
    return [(column, max(1, width - GAP)) for column in columns]


def _widths(kind: Kind, columns: Sequence[Column], rows: Sequence[Row], width: int) -> dict[str, int]:
    widths = {
        column.key: max([len(column.title) + 1, *(cell_width(row.cells[column.key].text) for row in rows)])
        for column in columns
    }
    rest = next(column.key for column in columns if column.takes_rest)
    room = width - GAP * len(columns)
    others = sum(size for key, size in widths.items() if key != rest)
    widths[rest] = room - others
    least = {column.key: max(_NARROWEST, len(column.title) + 1) for column in columns}
    while widths[rest] < kind.rest_min:
        giving = [one.key for one in columns if not (one.right or one.whole or one.takes_rest)]
        widest = max(giving, key=lambda key: widths[key] - least[key], default=None)
        if widest is None or widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
        widths[rest] += 1
    widths[rest] = max(_NARROWEST, widths[rest])
    return widths


_NARROWEST = 5


def cell_width(text: str) -> int:
    """How many places text takes in a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


# -- words


def clean(text: str) -> str:
    """Text from the database on one line, harmless to a terminal."""
    return one_line(text)


def per_second(rate: float) -> str:
    """`0`, `0.3`, `12`, `1,234`."""
    if rate <= 0:
        return "0"
    return f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.1f}" if rate >= 0.05 else f"{rate:.2f}"


def _age_cell(seconds: float | None, *, late: bool = False) -> Cell:
    return Cell(age(seconds), "bold red" if late else "" if seconds else "dim", -1.0 if seconds is None else seconds)


def _since_cell(when: datetime | None, now: float) -> Cell:
    return _age_cell(None if when is None else max(0.0, now - to_epoch(when)))


def details_of(text: str | None) -> str:
    """The details of a log line on one line: `attempt=2 worker_id=w1`; without the stack trace, see `trace_of`."""
    words = " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in json_object(text).items()
        if key != _TRACE
    )
    return clean(" ".join(words.split()))


def trace_of(text: str | None) -> str:
    """The stack trace in the details of a log line; empty where there is none."""
    found = json_object(text).get(_TRACE)
    return found.rstrip() if isinstance(found, str) else ""


_TRACE = "stack_trace"


ENDED = frozenset(
    status.value for status in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.DEAD_LETTER, TaskStatus.CANCELLED)
)
