"""`prismq move`: take the whole queue to another database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit
from prismq.cli.options import Yes, seconds_of
from prismq.cli.selection import confirm

if TYPE_CHECKING:
    from prismq.config import DatabaseTarget
    from prismq.storage.contract import Store
    from prismq.storage.copying import Obstacle, Step
    from prismq.storage.move import Moved, Plan


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "move")
    def move(
        call: Call,
        to: Annotated[
            str | None,
            typer.Option(
                "--to", metavar="PATH_OR_URL", help="Where to: a database that is empty, or does not exist yet."
            ),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Look at every row, say what would be done, and do nothing.")
        ] = False,
        timeout: Annotated[
            str, typer.Option("--timeout", metavar="TIME", help="How long to wait for running tasks before giving up.")
        ] = "10m",
        with_leases: Annotated[
            bool,
            typer.Option(
                "--with-leases",
                help="Do not wait for running tasks: their workers lose them, and they run again over there.",
            ),
        ] = False,
        abort: Annotated[
            bool,
            typer.Option("--abort", help="Give an unfinished move up: the database takes writes again."),
        ] = False,
        yes: Yes = False,
    ) -> int:
        """Take the whole queue to another database: tasks, history, logs, statistics, schedules, settings.

        First everything is copied while everything runs. Then the workers are asked to finish and end, the old database
        takes no more writes, and all of it is compared, row by row. Only then is the new one opened. What was killed or
        interrupted goes on where it was when it is run again.
        """
        if abort:
            return _abort(call, to)
        if to is None:
            usage("move wants to know where to: --to postgresql://user:password@host/database, or --to other.db")
        source, target = call.require_database(), _target(to)
        timeout_s = seconds_of(timeout, "--timeout")
        plan = _plan(call, source, target)
        if not call.as_json:
            _print_plan(plan, _name(source), _name(target), timeout, with_leases=with_leases)
        if dry_run or plan.obstacles:
            if call.as_json:
                output.print_json({**_plan_json(plan), "dry_run": dry_run, "moved": False})
            return Exit.FAILED if plan.obstacles else Exit.OK
        if not yes:
            confirm("The queue will be moved.")
        done = _run(call, source, target, timeout_s, with_leases=with_leases)
        if call.as_json:
            output.print_json({**_plan_json(plan), "dry_run": False, "moved": True, **_moved_json(done)})
        else:
            _print_moved(done, _name(source), _name(target))
        return Exit.OK


def _target(text: str) -> DatabaseTarget:
    from prismq.config.database import target_of

    target = target_of(text, "argument", "--to")
    if target.location == ":memory:":
        usage("a database in memory would end with this command; give the path of a file with --to")
    return target


def _name(target: DatabaseTarget) -> str:
    """As it can be written anywhere: a whole path, or a URL without its password."""
    return str(Path(target.location).absolute()) if target.scheme == "sqlite" else str(target)


@contextmanager
def _store(call: Call, target: DatabaseTarget, *, looking: bool = False) -> Iterator[Store]:
    from prismq.storage.open import open_store

    location = target.location
    if looking and target.scheme == "sqlite" and not Path(location).is_file():
        location = ":memory:"  # to look at a file is to make it
    store = open_store(
        target.scheme,
        location,
        durability=call.settings.durability,
        busy_timeout_s=call.settings.busy_timeout_seconds,
    )
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _reported(call: Call) -> Iterator[Callable[[Step], None]]:
    """A bar on stderr, one for each thing that is done; where that is no terminal, a line for each."""
    if call.as_json:
        yield lambda step: None
        return
    with output.progress_bar("", 0) as progress:
        bar = progress.task_ids[0]
        said = ""

        def report(step: Step) -> None:
            nonlocal said
            progress.update(bar, description=step.what, completed=step.done, total=step.total or None)
            if progress.disable and step.what != said and step.total != 0:
                output.note(step.what)
            said = step.what

        yield report


def _plan(call: Call, source: DatabaseTarget, target: DatabaseTarget) -> Plan:
    from prismq.clock import SYSTEM_CLOCK
    from prismq.storage.move import Move

    with _store(call, source) as ours, _store(call, target, looking=True) as theirs, _reported(call) as report:
        names = (_name(source), _name(target))
        return Move(ours, theirs, names=names, clock=SYSTEM_CLOCK, report=report).plan()


def _run(call: Call, source: DatabaseTarget, target: DatabaseTarget, timeout_s: float, *, with_leases: bool) -> Moved:
    from prismq.client.operator import who_am_i
    from prismq.clock import SYSTEM_CLOCK
    from prismq.storage.move import Move

    with _store(call, source) as ours, _store(call, target) as theirs, _reported(call) as report:
        move = Move(ours, theirs, names=(_name(source), _name(target)), clock=SYSTEM_CLOCK, report=report)
        return move.run(by=who_am_i(), timeout_s=timeout_s, with_leases=with_leases)


def _abort(call: Call, to: str | None) -> int:
    from prismq.storage.move import abort

    source = call.require_database()
    with _store(call, source) as ours:
        if to is None:
            said = abort(ours, _name(source))
        else:
            with _store(call, _target(to), looking=True) as theirs:
                said = abort(ours, _name(source), theirs)
    if call.as_json:
        output.print_json({"aborted": True, "message": said})
    else:
        output.say(said)
    return Exit.OK


# -- what is said


def _print_plan(plan: Plan, source: str, target: str, timeout: str, *, with_leases: bool) -> None:
    size = f"{plan.source_bytes / 1_048_576:,.1f} MB"
    free = "" if plan.free_bytes is None else f", {plan.free_bytes / 1_048_576:,.0f} MB free"
    there = "a queue is made there" if plan.target_is_new else "empty" if plan.state is None else "partly copied"
    output.print_pairs([("from", f"{source} ({size})"), ("to", f"{target} ({there}{free})")])
    output.print_table(
        [
            output.Column("TABLE", whole=True),
            output.Column("ROWS", right=True),
            output.Column("LEFT BEHIND", right=True),
        ],
        [
            (one.table, f"{one.rows:,}", f"{one.left_out:,}" if one.left_out else "")
            for one in plan.tables
            if one.rows or one.left_out
        ],
    )
    if any(one.left_out for one in plan.tables):
        output.say("Left behind: rows of tasks that do not exist any more, and rows without a key.")
    if plan.obstacles:
        _print_obstacles(plan.obstacles, target)
        return
    if plan.state is not None:
        output.say(f"An earlier move is unfinished ({plan.state}); it goes on where it was.")
    if plan.workers:
        output.say(
            f"{output.plural(len(plan.workers), 'worker')} will be asked to pause, and to end before the switch: "
            f"{', '.join(plan.workers)}. Start them again with the new address."
        )
    if plan.running:
        what = output.plural(plan.running, "running task")
        output.say(f"{what} will {'be moved as they are' if with_leases else f'be waited for, at most {timeout}'}.")
    output.say("Enqueues go on while everything is copied; while it is compared they are refused with an error.")


def _print_obstacles(obstacles: list[Obstacle], target: str) -> None:
    output.heading(f"{target} cannot hold:")
    for one in obstacles:
        ids = "; ".join(", ".join(map(str, key)) for key in one.examples)
        more = "" if one.rows <= len(one.examples) else f" and {one.rows - len(one.examples):,} more"
        output.say(f"{one.table}.{one.column}: {one.reason}, in {output.plural(one.rows, 'row')}: {ids}{more}")
        output.say(f"    {one.remedy}")
    output.say("Nothing was changed. Mend these first; nothing is ever altered on the way.")


def _print_moved(done: Moved, source: str, target: str) -> None:
    if done.tables:
        output.print_table(
            [
                output.Column("TABLE", whole=True),
                output.Column("ROWS", right=True),
                output.Column("CHECKSUM", whole=True),
            ],
            [(one.table, f"{one.rows:,}", one.checksum) for one in done.tables if one.rows],
        )
        output.say(
            f"Every row is the same in both; tables that are not here are empty. "
            f"Nothing could be written for {output.duration(done.stopped_s)}."
        )
    output.say(f"The queue is at {target} now. Give that address to your programs, and start the workers there.")
    output.say(f"{source} is as it was, and says so to those who still write to it. Keep it, or remove it.")


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "tables": [one._asdict() for one in plan.tables],
        "source_bytes": plan.source_bytes,
        "free_bytes": plan.free_bytes,
        "running": plan.running,
        "workers": plan.workers,
        "obstacles": [one._asdict() for one in plan.obstacles],
        "unfinished": plan.state,
        "target_is_new": plan.target_is_new,
    }


def _moved_json(done: Moved) -> dict[str, Any]:
    return {"compared": [one._asdict() for one in done.tables], "stopped_seconds": round(done.stopped_s, 3)}
