"""`prismq audit`: who did what."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from prismq.cli import output
from prismq.cli.context import Call, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "audit")
    def audit(
        call: Call,
        actor: Annotated[str | None, typer.Option("--actor", metavar="NAME", help="By this one alone.")] = None,
        action: Annotated[
            str | None,
            typer.Option("--action", metavar="ACTION", help="This alone: tasks.retry, or all of tasks."),
        ] = None,
        target: Annotated[
            str | None, typer.Option("--target", metavar="TARGET", help="On this task, by its id, or this name.")
        ] = None,
        limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many at most.")] = 50,
    ) -> None:
        """Show who did what by the HTTP API and the dashboard, and to tokens by whatever means; newest first."""
        from prismq.domain.times import from_epoch

        with call.queue() as q:
            found = q.store.audit.find(actor=actor, action=action, target=target, limit=limit)
        if call.as_json:
            output.print_json(
                [
                    {
                        "id": one.entry_id,
                        "at": from_epoch(one.at).isoformat(),
                        "actor": one.actor,
                        "via": one.via,
                        "origin": one.origin,
                        "action": one.action,
                        "target": one.target,
                        "conditions": dict(one.which),
                        "tasks": one.tasks,
                    }
                    for one in found
                ]
            )
            return
        if not found:
            output.say("Nothing was done.")
            return
        output.print_table(
            [
                output.Column("WHEN", whole=True),
                output.Column("WHO"),
                output.Column("ACTION", whole=True),
                output.Column("TARGET"),
                output.Column("CONDITIONS"),
                output.Column("TASKS", right=True, whole=True),
                output.Column("FROM", whole=True),
            ],
            [
                (
                    output.moment(from_epoch(one.at)),
                    one.actor,
                    one.action,
                    one.target or "",
                    json.dumps(dict(one.which), ensure_ascii=False) if one.which else "",
                    "" if one.tasks is None else f"{one.tasks:,}",
                    one.origin or one.via,
                )
                for one in found
            ],
        )
