"""`prismq archive`: read back what was archived before it was deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.bare import bare_store
from prismq.cli.context import Call, command
from prismq.cli.exits import Exit
from prismq.cli.options import statuses_of
from prismq.domain.errors import ConfigurationError
from prismq.domain.span import AttemptSpans, spans_of

if TYPE_CHECKING:
    from prismq.storage.archive import ArchiveReader

group = typer.Typer(no_args_is_help=True, help="Read tasks that were archived at the end of their retention.")

Folder = Annotated[
    str | None,
    typer.Option("--dir", metavar="FOLDER", help="The folder of the archive; without it archive_dir of the settings."),
]


@command(group, "list")
def list_archive(
    call: Call,
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", metavar="STATUS", help="In this status; may be repeated.")
    ] = None,
    type_: Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="Of this task type.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N tasks.")] = 50,
    folder: Folder = None,
) -> None:
    """List archived tasks, those archived last first. It reads the archive until it has found enough."""
    reader = _reader(call, folder)
    found = reader.newest(limit, type_=type_, status=statuses_of(status))
    _warn(reader)
    if call.as_json:
        output.print_json(found)
    elif found:
        columns = [
            output.Column("ID", right=True, whole=True), output.Column("TYPE"), output.Column("QUEUE"),
            output.Column("STATUS"), output.Column("FINISHED"), output.Column("ERROR"),
        ]  # fmt: skip
        output.print_table(columns, [_row(line["task"]) for line in found])
    else:
        output.say("Nothing in the archive matches.")


def _row(task: dict[str, Any]) -> tuple[str, ...]:
    finished = str(task["finished_at_utc"] or "")[:19].replace("T", " ")
    values = (task["id"], task["type"], task["queue"], task["status"], finished, task["error_message"] or "")
    return tuple(map(str, values))


@command(group, "show")
def show(
    call: Call,
    task_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="The task's id.")],
    folder: Folder = None,
) -> int:
    """Show an archived task with its attempts, its log and its spans. It reads the archive from its newest file on."""
    reader = _reader(call, folder)
    line = reader.find(task_id)
    _warn(reader)
    if line is None:
        output.note(f"error: task {task_id} is not in the archive. See `prismq tasks show {task_id}` for the queue")
        return Exit.FAILED
    if call.as_json:
        output.print_json(line)
        return Exit.OK
    output.print_pairs(
        [(key, "" if value is None else str(value)) for key, value in line["task"].items()]
        + [("archived_at_utc", line["archived_at_utc"])]
    )
    if line["attempts"]:
        output.heading("Attempts that did not complete")
        for one in line["attempts"]:
            output.say(f"{one['attempt']}  {one['outcome']}  {one['error_type'] or ''}: {one['error_message'] or ''}")
    if line["logs"]:
        output.heading("Log")
        for one in line["logs"]:
            output.say(f"{one['at_utc']}  {one['level']}  {one['message']}")
    for traced in line.get("spans", ()):  # what an earlier version archived has none
        output.heading(f"Spans of attempt {traced['attempt']}, trace {traced['trace_id']}")
        for one in spans_of(AttemptSpans(**{**traced, "spans": json.dumps(traced["spans"])})):
            output.say(f"{one.name}  {output.duration(one.duration_s)}  {one.status}")
    return Exit.OK


def _reader(call: Call, given: str | None) -> ArchiveReader:
    from prismq.storage.archive import ArchiveReader

    if given is not None:
        return ArchiveReader(Path(given))
    chosen = call.settings.worker.archive_dir
    if chosen is None:
        raise ConfigurationError(
            "no archive is configured: archive_dir is none. Set it in the section `worker`, or give --dir"
        )
    with bare_store(call, must_exist=False) as store:
        return ArchiveReader(store.keeping.folder / chosen)


def _warn(reader: ArchiveReader) -> None:
    for path, why in reader.torn:
        output.note(f"{path} could not be read to its end: {why}")
