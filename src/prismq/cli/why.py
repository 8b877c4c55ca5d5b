"""`prismq why`: why a task is not running, and when it is expected to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import output
from prismq.cli.context import Call, command

if TYPE_CHECKING:
    from prismq.observability.why import Explanation


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "why")
    def why(call: Call, task_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="The task's id.")]) -> None:
        """Say why a task is not running, and when it is expected to; of one that has ended, what happened."""
        from prismq.observability.why import explain

        with call.queue() as q:
            heartbeat_s = call.settings.worker.heartbeat_interval_seconds
            found = explain(q.store, task_id, q.clock.now(), heartbeat_s=heartbeat_s)
        if call.as_json:
            output.print_json(found.to_dict())
        else:
            _print(found)


def _print(found: Explanation) -> None:
    output.say(output.coloured(f"Task {found.task_id} ({found.type}, queue {found.queue}) is ", found.state, "."))
    for one in found.reasons:
        output.say(output.coloured("  - ", one.text) if not one.blocks else output.coloured("  ! ", one.text))
        if one.advice:
            output.say(f"      → {one.advice}")
    if found.blocked:
        output.say("It does not run until that is mended.")
    elif found.expected_at is not None and found.expected != "now":
        from prismq.domain.times import from_epoch

        about = {"due": "at", "estimate": "about", "not_before": "not before"}[found.expected or "due"]
        left = output.duration(max(0.0, found.expected_at - found.at))
        output.say(f"Expected to start {about} {output.moment(from_epoch(found.expected_at))}, in {left}.")
