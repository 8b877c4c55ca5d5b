"""Options that several commands take, and reading their values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli.completion import complete_queue, complete_status
from prismq.cli.context import usage

if TYPE_CHECKING:
    from prismq.domain.task import TaskFilter

_PANEL = "Which tasks"

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", min=1, help="Tasks by their ids.", show_default=False)
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        "-s",
        metavar="STATUS",
        help="In this status; give it again for more, or separate them with commas.",
        autocompletion=complete_status,
        rich_help_panel=_PANEL,
    ),
]
Type = Annotated[
    str | None, typer.Option("--type", "-t", metavar="TYPE", help="Of this task type.", rich_help_panel=_PANEL)
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="QUEUE",
        help="In this queue.",
        autocompletion=complete_queue,
        rich_help_panel=_PANEL,
    ),
]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="With this tag.", rich_help_panel=_PANEL)]
Text = Annotated[
    str | None,
    typer.Option("--text", metavar="TEXT", help="With this text in payload or error.", rich_help_panel=_PANEL),
]
OfSchedule = Annotated[
    str | None,
    typer.Option("--schedule", metavar="NAME", help="Enqueued by this schedule.", rich_help_panel=_PANEL),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Enqueued at or after this time: 2025-01-31T06:30 (UTC), or 2h for two hours ago.",
        rich_help_panel=_PANEL,
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="WHEN", help="Enqueued before this time.", rich_help_panel=_PANEL),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def seconds_of(text: str, option: str) -> float:
    """`90`, `90s`, `1.5m`, `2h` or `1d` as seconds; a usage error for anything else."""
    number = text.strip().rstrip("smhdw")
    unit = text.strip()[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        usage(f"{option} takes seconds, or a number with ms, s, m, h, d or w, such as 90, 5m or 2h; not {text!r}")
    if not 0 <= seconds < float("inf"):
        usage(f"{option} takes a time of 0 or more, not {text!r}")
    return seconds


def moment_of(text: str, option: str) -> datetime:
    """An ISO 8601 time; UTC where it has no offset."""
    from prismq.domain.times import from_text

    try:
        return from_text(text)
    except ValueError:
        usage(f"{option} takes a time such as 2025-01-31T06:30:00 (UTC) or 2025-01-31T06:30:00+02:00, not {text!r}")


def past_of(text: str, option: str, now: float) -> float:
    """Seconds since 1970 of a time, or of a duration ago."""
    from prismq.domain.times import to_epoch

    if text.strip()[-1:] in tuple("smhdw") or text.strip().isdigit():
        return now - seconds_of(text, option)
    return to_epoch(moment_of(text, option))


def object_of(text: str, option: str) -> dict[str, Any]:
    """A JSON object; a usage error says what is wrong with it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        usage(f'{option} is not JSON: {error}. It takes an object such as \'{{"path": "cat.png"}}\'')
    if not isinstance(value, dict):
        usage(f'{option} takes a JSON object such as \'{{"path": "cat.png"}}\', not {text[:80]!r}')
    return value


def statuses_of(values: Iterable[str] | None) -> tuple[str, ...]:
    """Statuses by any of their spellings; a usage error names the closest."""
    from prismq.domain.errors import UnknownStatus, closest
    from prismq.domain.status import TaskStatus, parse_status

    found = []
    for value in (part for given in values or () for part in given.split(",") if part.strip()):
        try:
            found.append(parse_status(value).value)
        except UnknownStatus:
            names = [status.value for status in TaskStatus]
            usage(
                f"there is no status {value.strip()!r}.{closest(value.strip().lower(), names)} "
                f"The statuses are {', '.join(names)}"
            )
    return tuple(dict.fromkeys(found))


def filter_of(
    now: float,
    *,
    ids: Iterable[int] | None = None,
    status: Iterable[str] | None = None,
    type_: str | None = None,
    queue: str | None = None,
    tag: str | None = None,
    text: str | None = None,
    schedule: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> TaskFilter:
    """The options as conditions."""
    from prismq.domain.task import TaskFilter

    return TaskFilter(
        ids=tuple(ids or ()),
        statuses=statuses_of(status),
        type=type_,
        queue=queue,
        schedule=schedule,
        tag=tag,
        text=text,
        created_after=None if since is None else past_of(since, "--since", now),
        created_before=None if until is None else past_of(until, "--until", now),
    )
