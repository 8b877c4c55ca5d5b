"""How answers look: tables and words for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prismq.domain.words import duration as duration
from prismq.domain.words import plural as plural

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from prismq.domain.task import Task

_STYLES = {
    "queued": "cyan",
    "scheduled": "blue",
    "claimed": "yellow",
    "processing": "yellow",
    "cancelling": "yellow",
    "completed": "green",
    "failed": "red",
    "dead_letter": "bold red",
    "cancelled": "dim",
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "bold red",
    "active": "green",
    "paused": "yellow",
    "draining": "yellow",
    "stopped": "dim",
    "lost": "red",
    "silent": "bold red",
    "late heartbeat": "yellow",
    "not consuming": "bold yellow",
    "problem": "bold red",
    "warning": "yellow",
    "note": "dim",
    "mended": "green",
}


class Column(NamedTuple):
    """A column of a table. `whole`: never shortened, because people copy it. `fold`: goes on in the next line."""

    title: str
    right: bool = False
    whole: bool = False
    fold: bool = False


# -- for programs


def print_json(value: Any) -> None:
    """One JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_json_line(value: Any) -> None:
    """One line of JSON to stdout, at once: for what is followed."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")
    sys.stdout.flush()


def value_of(text: str | None) -> Any:
    """What JSON text holds; the text itself where it is not JSON (rows are written by hand, too)."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def task_json(task: Task) -> dict[str, Any]:
    """A task for programs: a key for each column, JSON columns as values, and its state."""
    row = task.to_dict()
    for column in ("payload", "compatibility", "tags", "backoff", "result", "progress", "headers"):
        row[column] = value_of(row[column])
    row["state"] = task.state
    return row


# -- for people


def console(*, stderr: bool = False) -> Console:
    """A console on what stdout or stderr is now: no colour where it is not a terminal or NO_COLOR is set."""
    from rich.console import Console

    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, emoji=False, markup=False)


def say(*parts: RenderableType) -> None:
    """Print to stdout, for people. Text is printed as it is, but for control characters."""
    console().print(*(clean(part) if isinstance(part, str) else part for part in parts), soft_wrap=True)


def note(message: str) -> None:
    """A remark to stderr."""
    sys.stderr.write(f"prismq: {clean(message)}\n")


def clean(text: str) -> str:
    """Text from a database, harmless to a terminal: control characters are written out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else _written_out(one) for one in text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """The text's first line that says something."""
    return next((clean(line.strip()) for line in text.splitlines() if line.strip()), "")


def print_table(columns: Sequence[str | Column], rows: Iterable[Sequence[str]]) -> None:
    """A table that fits the terminal; a word that names a state has its colour."""
    from rich.table import Table
    from rich.text import Text

    kinds = [Column(entry) if isinstance(entry, str) else entry for entry in columns]
    cells = [[one_line(cell) for cell in row] for row in rows]
    out = console()
    widths = _fitted(
        [max(len(kind.title), *(_width(row[at]) for row in cells), 1) for at, kind in enumerate(kinds)],
        [kind.whole for kind in kinds],
        out.width,
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for kind, width in zip(kinds, widths, strict=True):
        table.add_column(
            kind.title,
            justify="right" if kind.right else "left",
            no_wrap=not kind.fold,
            overflow="fold" if kind.fold else "ellipsis",
            width=width,
        )
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    out.width = max(out.width, sum(widths) + _GAP * len(widths))
    out.print(table)


_GAP = 2
_NARROWEST = 6


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _fitted(natural: Sequence[int], whole: Sequence[bool], available: int) -> list[int]:
    """The widths of the columns: the widest of those that may be shortened give way first."""
    widths = [width if kept else min(width, available) for width, kept in zip(natural, whole, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > available:
        widest = max((at for at, kept in enumerate(whole) if not kept), key=lambda at: widths[at], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line; empty values are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            table.add_row(name, Text(clean(value), style=_STYLES.get(value, "")))
    console().print(table)


def heading(text: str) -> None:
    """A heading, with an empty line before it."""
    from rich.text import Text

    console().print()
    console().print(Text(text, style="bold"))


def coloured(before: str, word: str, after: str = "") -> RenderableType:
    """A sentence with a word in the colour of the state that it names."""
    from rich.text import Text

    return Text.assemble(clean(before), (word, _STYLES.get(word.lower(), "")), clean(after))


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Progress]:
    """A bar on stderr while something long runs; nothing where that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        progress.add_task(title, total=total)
        yield progress


# -- words


def age(seconds: float | None) -> str:
    """A duration in one unit, for tables: `4s`, `3m`, `2h`, `5d`; `-` for None."""
    if seconds is None or seconds == float("inf"):
        return "-"
    for size, name in ((86_400 * 2, "d"), (3600 * 2, "h"), (120, "m")):
        if seconds >= size:
            return f"{seconds // {'d': 86_400, 'h': 3600, 'm': 60}[name]:.0f}{name}"
    return f"{max(seconds, 0):.0f}s"


def moment(when: datetime | None) -> str:
    """`2025-01-31 06:30:00.120 UTC`; nothing for None."""
    return "" if when is None else f"{when.replace(tzinfo=None).isoformat(' ', 'milliseconds')} UTC"
