"""`prismq top`: the queue live, in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import options
from prismq.cli.context import Call, command, usage
from prismq.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prismq.cli.top.application import Top

_INTERVAL_S_MIN = 0.2
_MISSING = "prismq top wants Textual: pip install 'prismq[top]'. Without it, `prismq status` shows the same once"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "top")
    def top(
        call: Call,
        queue: Annotated[
            str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Of this queue alone.")
        ] = None,
        interval: Annotated[
            str, typer.Option("--interval", "-i", metavar="TIME", help="How often to look, such as 500ms, 2s or 1m.")
        ] = "2s",
    ) -> None:
        """Watch the queue live, in the terminal: queues, workers, running tasks, failures, and the log of a task.

        Keys do the rest: `?` shows them all, `q` ends it. Nothing is changed without a question.
        """
        interval_s = options.seconds_of(interval, "--interval")
        if interval_s < _INTERVAL_S_MIN:
            usage(f"--interval takes {_INTERVAL_S_MIN:g} seconds or more, not {interval!r}")
        if call.as_json:
            usage("prismq top is for people; `prismq status --json` prints the same for programs")
        program = program_of()
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigurationError("prismq top wants a terminal; `prismq status` shows the same once")
        with call.queue() as q:
            program(q, queue=queue, interval_s=interval_s).run()


def program_of() -> type[Top]:
    """The program. Raises ConfigurationError where the extra is missing."""
    try:
        from prismq.cli.top.application import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise ConfigurationError(_MISSING) from error
    return Top
