"""`prismq metrics`: every figure, in a form that Prometheus reads."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from prismq.cli.context import Call, command, usage


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "metrics")
    def metrics(
        call: Call,
        form: Annotated[
            str | None,
            typer.Option(
                "--format",
                "-f",
                metavar="prometheus|openmetrics|json",
                help="How to write them. [default: prometheus, or json with --json]",
                show_default=False,
            ),
        ] = None,
    ) -> None:
        """Write every figure of the queue, its workers, the database and this machine.

        The text is what `GET /metrics` of the server answers; docs/metrics.md says what each figure means. Where the
        queue was not used yet it is made.
        """
        from prismq.observability.exposition import Format, collect, render

        wanted = form if form is not None else "json" if call.as_json else "prometheus"
        if wanted not in [one.value for one in Format]:
            usage(f"--format is one of {', '.join(one.value for one in Format)}, not {wanted!r}")
        with call.queue() as q:
            heartbeat_s = call.settings.worker.heartbeat_interval_seconds
            text = render(collect(q.store, q.clock, heartbeat_s=heartbeat_s), Format(wanted))
        sys.stdout.write(text.rstrip("\n") + "\n")
