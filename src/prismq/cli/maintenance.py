"""`prismq maintenance`: the database's own upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.bare import bare_store
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit
from prismq.cli.options import Yes
from prismq.cli.selection import confirm

if TYPE_CHECKING:
    from prismq.storage.contract import DatabaseStats, Keeping

group = typer.Typer(no_args_is_help=True, help="The database's own upkeep: log, statistics, free pages, integrity.")

_MB = 1_048_576
_MODES = ("passive", "full", "restart", "truncate")


@command(group, "checkpoint")
def checkpoint(
    call: Call,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="MODE",
            help="passive (waits for nobody), full (for writers), restart (for readers, too) or truncate (the same, "
            "and cuts the log to nothing).",
        ),
    ] = "passive",
) -> int:
    """Move the write-ahead log into the database. Ends with 1 where somebody was in the way."""
    from prismq.storage.contract import CheckpointMode

    if mode.lower() not in _MODES:
        usage(f"--mode takes {', '.join(_MODES)}; not {mode!r}")
    with bare_store(call) as store:
        done = store.keeping.checkpoint(CheckpointMode(mode.upper()))
    if call.as_json:
        output.print_json(done._asdict())
    else:
        output.say(
            f"{done.checkpointed:,} of {output.plural(done.log, 'page')} moved into the database."
            if done.log
            else "There is nothing left in the log."
        )
        if done.busy:
            output.note("somebody was in the way: a reader that holds on to an old state, or a writer. Try again later")
    return Exit.FAILED if done.busy else Exit.OK


@command(group, "analyze")
def analyze(call: Call) -> None:
    """Refresh the planner's statistics from a sample: milliseconds, whatever the size."""
    with bare_store(call) as store:
        store.keeping.analyze()
    if call.as_json:
        output.print_json({"analyzed": True})
    else:
        output.say("The statistics are fresh.")


@command(group, "vacuum")
def vacuum(call: Call, yes: Yes = False) -> None:
    """Give free pages back to the system. It needs as much disk again, and nobody can write meanwhile."""
    with bare_store(call) as store:
        before = _before_vacuum(store.keeping, yes=yes)
        store.keeping.vacuum()
        after = store.keeping.stats()
    if call.as_json:
        output.print_json({"before": _json(before), "after": _json(after)})
    else:
        output.say(f"{before.total_bytes / _MB:,.1f} MB before, {after.total_bytes / _MB:,.1f} MB after.")


@command(group, "check")
def check(
    call: Call,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out comparing indexes with their tables.")] = False,
) -> int:
    """Check that the database is whole: it reads all of it. Ends with 1 where something is damaged."""
    with bare_store(call) as store:
        found = store.keeping.integrity_check(thorough=not quick)
    whole = found == ["ok"]
    if call.as_json:
        output.print_json({"ok": whole, "damage": [] if whole else found})
    elif whole:
        output.say("The database is whole.")
    else:
        for line in found:
            output.say(line)
        output.note("stop the workers, keep a copy of the file, and restore the latest backup")
    return Exit.OK if whole else Exit.FAILED


@command(group, "stats")
def stats(call: Call) -> None:
    """Say how big the database is, and what of it is free."""
    with bare_store(call) as store:
        found = store.keeping.stats()
    if call.as_json:
        output.print_json(_json(found))
        return
    output.print_pairs(
        [
            ("Size", f"{found.total_bytes / _MB:,.1f} MB, {output.plural(found.page_count, 'page')}"),
            ("Free pages", f"{found.freelist_count:,} ({found.freelist_count * found.page_size / _MB:,.1f} MB)"),
            ("Write-ahead log", f"{found.wal_bytes / _MB:,.1f} MB" if found.wal_mode else "none"),
        ]
    )


@command(group, "optimize")
def optimize(
    call: Call,
    full: Annotated[bool, typer.Option("--full", help="Vacuum, too: nobody can write meanwhile.")] = False,
    yes: Yes = False,
) -> None:
    """Refresh the statistics; with --full give free pages back, too."""
    with bare_store(call) as store:
        before = _before_vacuum(store.keeping, yes=yes or not full)
        store.keeping.analyze()
        if full:
            store.keeping.vacuum()
        after = store.keeping.stats()
    if call.as_json:
        output.print_json({"analyzed": True, "vacuumed": full, "before": _json(before), "after": _json(after)})
    else:
        output.say(f"Done. {before.total_bytes / _MB:,.1f} MB before, {after.total_bytes / _MB:,.1f} MB after.")


def _before_vacuum(keeping: Keeping, *, yes: bool) -> DatabaseStats:
    found = keeping.stats()
    if not yes:
        confirm(f"{found.total_bytes / _MB:,.1f} MB will be written anew, and nobody can write to the queue meanwhile.")
    return found


def _json(found: DatabaseStats) -> dict[str, Any]:
    from prismq.observability.maintenance import stats_dict

    return stats_dict(found)
