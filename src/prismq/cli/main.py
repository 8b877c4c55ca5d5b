"""The command `prismq`: puts the commands together, and turns errors into a line and an exit code."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from prismq.cli import (
    alerts,
    archive,
    audit,
    backup,
    configuration,
    doctor,
    enqueue,
    health,
    init,
    kit,
    maintenance,
    metrics,
    migrate,
    move,
    output,
    queues,
    remediation,
    scaling,
    schedules,
    server,
    slo,
    status,
    tasks,
    tokens,
    top,
    why,
    worker,
    workers,
)
from prismq.cli.context import AsJson, Common, Config, Db, Traceback
from prismq.cli.exits import MEANINGS, Exit, exit_for
from prismq.domain.errors import PrismqError

# Typer has a copy of Click's exceptions of its own, and does not export their root: of what it exports, this is it.
_CLICK_ERRORS: type[Exception] = typer.BadParameter.__mro__[2]

_EPILOG = "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."

app = typer.Typer(
    name="prismq",
    help="A durable task queue for Python that you can see into.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from prismq.version import __version__

        sys.stdout.write(f"prismq {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    db: Db = None,
    config: Config = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """A durable task queue for Python that you can see into."""
    ctx.obj = Common(db, config, as_json, traceback)


init.register(app)
worker.register(app)
server.register(app)
enqueue.register(app)
status.register(app)
top.register(app)
health.register(app)
metrics.register(app)
why.register(app)
app.add_typer(tasks.group, name="tasks")
app.add_typer(queues.group, name="queues")
app.add_typer(workers.group, name="workers")
app.add_typer(schedules.group, name="schedules")
app.add_typer(scaling.group, name="scale")
app.add_typer(remediation.group, name="remediation")
app.add_typer(alerts.group, name="alerts")
slo.register(app)
app.add_typer(tokens.group, name="tokens")
audit.register(app)
doctor.register(app)
app.add_typer(backup.group, name="backup")
app.add_typer(maintenance.group, name="maintenance")
app.add_typer(archive.group, name="archive")
app.add_typer(kit.group, name="kit")
migrate.register(app)
move.register(app)
app.add_typer(configuration.group, name="config")

if importlib.util.find_spec("prismq.cli.demo") is not None:
    from prismq.cli.demo import demo

    app.command("demo")(demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code. See prismq.cli.exits for what the codes mean."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an arrow must not end a command on a terminal that has none
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="prismq", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except _CLICK_ERRORS as error:
        return _usage_error(error)
    except PrismqError as error:
        output.note(f"error: {error}")
        return exit_for(error)
    except (KeyboardInterrupt, typer.Abort):
        output.note("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


def _usage_error(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if message:  # none where the help was asked for by giving nothing
        output.note(f"error: {message}")
    if message and context is not None:
        sys.stderr.write(f"Try `{context.command_path} --help`.\n")
    return int(getattr(error, "exit_code", Exit.USAGE))


if __name__ == "__main__":
    sys.exit(main())
