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

        The text is what `GET /metrics` of the server answers, without what only a server knows of itself: its requests
        and its statements. docs/metrics.md says what each figure means. Where the queue was not used yet it is made.
        """
        from prismq.observability.exposition import Format, collect, render
        from prismq.server.redis import redis_of

        wanted = form if form is not None else "json" if call.as_json else "prometheus"
        if wanted not in [one.value for one in Format]:
            usage(f"--format is one of {', '.join(one.value for one in Format)}, not {wanted!r}")
        with call.queue() as q:
            worker = call.settings.worker
            _, redis = redis_of(q)
            found = collect(
                q.store,
                q.clock,
                redis=redis,
                heartbeat_s=worker.heartbeat_interval_seconds,
                backup_dir=worker.backup_dir,
                promises=call.settings.slo.promises,
            )
            text = render(found, Format(wanted))
        sys.stdout.write(text.rstrip("\n") + "\n")
