"""`prismq remediation`: what was put right without anybody's doing, and the breakers of task types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import options, output
from prismq.cli.context import Call, announce, command, usage
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.observability.remediation.board import Board

group = typer.Typer(
    no_args_is_help=True, help="What was put right without anybody's doing; open and close breakers of task types."
)

TypeName = Annotated[str, typer.Argument(metavar="TYPE", help="The task type.")]


@command(group, "list")
def list_acts(
    call: Call,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many acts at most.")] = 20,
) -> None:
    """Show the breakers, how often each act happened, and the last acts."""
    from prismq.observability.remediation.board import board

    with call.queue() as q:
        found = board(q.store, q.clock.now(), limit=limit)
    if call.as_json:
        output.print_json(found.to_dict())
        return
    if not (found.breakers or found.totals or found.acts):
        output.say("Nothing had to be put right yet, and no breaker is open.")
        return
    _print_breakers(found)
    _print_acts(found)


def _print_breakers(found: Board) -> None:
    if not found.breakers:
        return
    output.heading("Breakers")
    output.print_table(
        ["TYPE", "STATE", "FOR", "NEXT PROBE", output.Column("WHY", fold=True)],
        [
            (
                one.type,
                one.state.value.replace("_", " "),
                output.age(found.at - one.since),
                "-" if one.probe_at is None else f"in {output.age(max(0.0, one.probe_at - found.at))}",
                one.reason,
            )
            for one in found.breakers
        ],
    )


def _print_acts(found: Board) -> None:
    from prismq.domain.times import from_epoch
    from prismq.observability.remediation.board import MEANINGS

    if found.totals:
        output.heading("Since the queue was made")
        output.print_table(
            [
                "ACT",
                output.Column("TIMES", right=True),
                output.Column("TASKS", right=True),
                output.Column("WHAT", fold=True),
            ],
            [(one.act, f"{one.times:,}", f"{one.tasks:,}", MEANINGS.get(one.act, "")) for one in found.totals],
        )
    if found.acts:
        output.heading("Last acts")
        output.print_table(
            [
                output.Column("WHEN", whole=True),
                "ACT",
                "TARGET",
                output.Column("TASKS", right=True),
                "BY",
                output.Column("WHY", fold=True),
            ],
            [
                (
                    output.moment(from_epoch(one.at)),
                    one.action.partition(".")[2],
                    one.target or "",
                    f"{one.tasks or 0:,}",
                    one.actor,
                    str(one.which.get("reason", "")),
                )
                for one in found.acts
            ],
        )


@command(group, "open")
def open_one(
    call: Call,
    type_name: TypeName,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Then one of its tasks is tried; else until somebody closes it."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="For people.")] = "",
) -> None:
    """Open the breaker of a task type: none of its tasks is claimed any more; what runs goes on."""
    from prismq.client.operator import who_am_i
    from prismq.domain.errors import InvalidArgument
    from prismq.observability.remediation.board import breaker_json
    from prismq.observability.remediation.by_hand import open_breaker, stranger

    for_s = None if for_ is None else options.seconds_of(for_, "--for")
    with call.queue() as q:
        try:
            made = open_breaker(q.store, q.clock.now(), type_name, by=who_am_i(), via="cli", reason=reason, for_s=for_s)
        except InvalidArgument as error:
            usage(str(error))
        unknown = stranger(q.store, q.clock.now(), type_name)
        announce(q)
    if unknown is not None:
        output.note(f"{unknown} Its breaker is open all the same")
    if call.as_json:
        output.print_json({**breaker_json(made), "warning": unknown})
    else:
        until = "until it is closed" if for_s is None else f"until a task is tried in {output.duration(for_s)}"
        output.say(f"{type_name}: its tasks wait {until}")


@command(group, "close")
def close_one(call: Call, type_name: TypeName) -> int:
    """Close the breaker of a task type: its tasks are claimed again."""
    from prismq.client.operator import who_am_i
    from prismq.domain.errors import InvalidArgument, closest
    from prismq.observability.remediation.by_hand import close_breaker

    with call.queue() as q:
        try:
            made = close_breaker(q.store, q.clock.now(), type_name, by=who_am_i(), via="cli")
        except InvalidArgument as error:
            usage(str(error))
        known = [one.type for one in q.store.remedies.breakers()]
        announce(q)
    if call.as_json:
        output.print_json({"type": type_name, "closed": made is not None})
    elif made is not None:
        output.say(f"{type_name}: its tasks are claimed again")
    elif type_name in known:
        output.say(f"{type_name}: was not open")
    if made is None and type_name not in known:
        output.note(f"error: the type {type_name!r} never had an open breaker.{closest(type_name, known)}")
        return Exit.FAILED
    return Exit.OK
