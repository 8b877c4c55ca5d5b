"""`prismq migrate`: bring an older database up to this version."""

from __future__ import annotations

from typing import Annotated

import typer

from prismq.cli import output
from prismq.cli.context import Call, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "migrate")
    def migrate(
        call: Call,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    ) -> None:
        """Bring the database up to this version of prismq. Nothing is ever downgraded."""
        from prismq.storage.open import open_store

        target = call.require_database()
        settings = call.settings
        store = open_store(
            target.scheme,
            target.location,
            durability=settings.durability,
            busy_timeout_s=settings.busy_timeout_seconds,
        )
        try:
            versions = store.pending() if dry_run else store.initialise()
        finally:
            store.close()
        if call.as_json:
            output.print_json({"database": str(target), "dry_run": dry_run, "migrations": versions})
        elif not versions:
            output.say(f"{target} is up to date.")
        else:
            listed = ", ".join(map(str, versions))
            output.say(f"{target}: {'would apply' if dry_run else 'applied'} migration {listed}.")
