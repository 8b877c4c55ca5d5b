"""What the shell offers when Tab is pressed. It must be quick, and must never fail or make anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from prismq.app import PrismQ


def complete_status(incomplete: str) -> list[str]:
    """Statuses."""
    from prismq.domain.status import TaskStatus

    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{one.value}" for one in TaskStatus if one.value.startswith(last)]


def complete_queue(ctx: typer.Context, incomplete: str) -> list[str]:
    """Queues that exist."""
    return _from_store(ctx, incomplete, lambda q: (one.queue for one in q.tasks.queues()))


def complete_worker(ctx: typer.Context, incomplete: str) -> list[str]:
    """Workers that have not ended."""
    return _from_store(
        ctx,
        incomplete,
        lambda q: ["all", *(one.worker_id for one in q.store.workers.all() if one.status not in ("stopped", "lost"))],
    )


def complete_schedule(ctx: typer.Context, incomplete: str) -> list[str]:
    """Periodic tasks."""
    return _from_store(ctx, incomplete, lambda q: (one.name for one in q.store.schedules.all()))


def _from_store(ctx: typer.Context, incomplete: str, names: Callable[[PrismQ], Iterable[str]]) -> list[str]:
    from prismq.cli.context import Call, Common

    try:
        with Call(Common(ctx.params.get("db"), ctx.params.get("config"))).queue() as q:
            return [name for name in names(q) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - the prompt of a shell is no place for an error
        return []
