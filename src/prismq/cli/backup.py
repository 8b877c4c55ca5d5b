"""`prismq backup`: make, list, verify, restore and prune backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.bare import bare_store
from prismq.cli.context import Call, command
from prismq.cli.options import Yes, seconds_of
from prismq.cli.selection import confirm

if TYPE_CHECKING:
    from prismq.storage.backups import BackupFolder, BackupInfo
    from prismq.storage.contract import Store

group = typer.Typer(no_args_is_help=True, help="Make, list, verify, restore and prune backups.")

Folder = Annotated[
    str | None,
    typer.Option(
        "--dir",
        metavar="FOLDER",
        help="The folder of the backups; without it backup_dir, or `backups` beside the database.",
    ),
]
Which = Annotated[
    str, typer.Argument(metavar="BACKUP", help="A backup: its path, its name in the folder, or `latest`.")
]


@command(group, "create")
def create(
    call: Call,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Becomes part of the file's name.")] = None,
    folder: Folder = None,
) -> None:
    """Make a backup now, and verify it. Workers and enqueues go on meanwhile."""
    with bare_store(call) as store:
        made = _folder(call, store, folder).create(name)
    if call.as_json:
        output.print_json(_json(made))
    else:
        output.say(f"{made.path} ({made.size_mb:,.1f} MB)")


@command(group, "list")
def list_backups(call: Call, folder: Folder = None) -> None:
    """List the backups, newest first."""
    with bare_store(call, must_exist=False) as store:
        backups = _folder(call, store, folder)
        found = backups.list()
    if call.as_json:
        output.print_json([_json(one) for one in found])
    elif found:
        columns = [output.Column("BACKUP", whole=True), output.Column("MADE"), output.Column("MB", right=True)]
        output.print_table(
            columns, [(one.path.name, output.moment(one.created_at), f"{one.size_mb:,.1f}") for one in found]
        )
    else:
        output.say(f"There are no backups in {backups.folder}. Make one with `prismq backup create`.")


@command(group, "verify")
def verify(call: Call, backup: Which = "latest", folder: Folder = None) -> None:
    """Open a backup, read-only, and check every page and index of it. Ends with 3 where it cannot be restored."""
    with bare_store(call, must_exist=False) as store:
        found = store.keeping.verify(_path(_folder(call, store, folder), backup))
    if call.as_json:
        output.print_json({**found._asdict(), "valid": True})
        return
    output.say(f"{found.path} is whole: {output.plural(found.tasks, 'task')}, schema version {found.schema_version}.")
    if not found.books_right:
        output.note("its counts differ from its tasks; after a restore, `prismq doctor --fix` corrects them")


@command(group, "restore")
def restore(
    call: Call,
    backup: Which,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="PATH", help="Restore to this file, and leave the database as it is."),
    ] = None,
    folder: Folder = None,
    yes: Yes = False,
) -> None:
    """Put a backup in place of the database. What is there now is kept beside it. Stop the workers first."""
    from prismq.clock import SYSTEM_CLOCK

    with bare_store(call, must_exist=False) as store:
        path = _path(_folder(call, store, folder), backup)
        if not yes and (to is None or to.exists()):
            confirm(f"{to or call.target} will be as it was in {path.name}; what was done since will be undone.")
        done = store.keeping.restore(path, to, SYSTEM_CLOCK.now())
    if call.as_json:
        output.print_json(
            {"restored": done.target, "kept_aside": done.kept_aside, "backup": path, "tasks": done.copy.tasks}
        )
        return
    output.say(f"{done.target} is restored from {path}: {output.plural(done.copy.tasks, 'task')}.")
    if done.kept_aside is not None:
        output.say(f"What was there is kept in {done.kept_aside}.")


@command(group, "prune")
def prune(
    call: Call,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="Keep the newest N.")] = 10,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Delete only those that are older, such as 30d."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Delete all but the newest backups."""
    younger_s = None if older_than is None else seconds_of(older_than, "--older-than")
    with bare_store(call, must_exist=False) as store:
        backups = _folder(call, store, folder)
        deleted = backups.prune(keep, younger_s=younger_s)
        left = len(backups.list())
    if call.as_json:
        output.print_json({"deleted": deleted, "kept": left})
    else:
        output.say(f"{output.plural(deleted, 'backup')} deleted, {left} kept.")


def _folder(call: Call, store: Store, given: str | None) -> BackupFolder:
    from prismq.clock import SYSTEM_CLOCK
    from prismq.storage.backups import BackupFolder

    # What is typed is meant from here; what is configured, from the database.
    chosen = str(Path(given).absolute()) if given else call.settings.worker.backup_dir
    return BackupFolder(store.keeping, SYSTEM_CLOCK, chosen)


def _path(backups: BackupFolder, which: str) -> Path:
    if which == "latest":
        newest = next(iter(backups.list()), None)
        # A name that is not there, so that the one message for it serves.
        return newest.path if newest else backups.folder / which
    inside = backups.folder / which
    return inside if inside.is_file() else Path(which)


def _json(one: BackupInfo) -> dict[str, Any]:
    return {"path": one.path, "size_bytes": one.size_bytes, "created_at_utc": one.created_at.isoformat()}
