"""`prismq demo`: a folder of real files goes through a real queue, with failures on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATABASE = Path(".demo") / "queue.db"


def demo(
    directory: Annotated[
        Path,
        typer.Argument(metavar="[DIR]", help="The folder whose files are indexed; this one if none is given."),
    ] = Path(),
    db: Annotated[
        Path,
        typer.Option("--db", metavar="PATH", help="Where the demo's database goes. An older demo's is kept beside it."),
    ] = DEFAULT_DATABASE,
    postgres: Annotated[
        bool,
        typer.Option("--postgres", help="Run on a private PostgreSQL server, which is started and removed again."),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End when all is done, in a terminal, too.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=1, max=16, metavar="N", help="How many worker processes.")
    ] = 2,
) -> None:
    """Index a folder of real files with a real queue, and watch it survive what usually goes wrong.

    One task a file, a periodic task, tasks that fail and are retried, one that kills its own worker, one that does
    so every time, one that never ends, one that is cancelled. The dashboard shows it all in the browser. In a terminal
    work keeps coming for ten minutes, and the dashboard stays until Ctrl-C; with --once, and elsewhere, the demo ends
    by itself. The database is left to explore; with --postgres everything is removed in the end.
    Exit code 0 when everything went as it should, 1 when not.
    """
    from prismq.cli.demo.run import run_demo, run_demo_on_postgres

    if postgres:
        raise typer.Exit(run_demo_on_postgres(directory, workers, once=once))
    raise typer.Exit(run_demo(directory, db, workers, once=once))
