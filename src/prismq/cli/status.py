"""`prismq status`: is the queue well, and what is in it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.context import Call, command
from prismq.cli.exits import Exit
from prismq.cli.options import seconds_of

if TYPE_CHECKING:
    from prismq.observability.condition import WorkerView
    from prismq.observability.health import Health
    from prismq.observability.window import Window
    from prismq.storage.contract import QueueInfo

_TIMEOUT_S = 30.0  # people wait longer than an orchestrator


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "status")
    def status(
        call: Call,
        max_age: Annotated[
            str,
            typer.Option("--max-age", metavar="TIME", help="How long a ready task may wait."),
        ] = "5m",
        exit_zero: Annotated[bool, typer.Option("--exit-zero", help="End with code 0 whatever the health is.")] = False,
    ) -> int:
        """Say how the queue is: health, depth, workers, throughput, failures.

        Ends with 0 where it is healthy, and with 1 where it is degraded or unhealthy.
        """
        from prismq.observability.facts import gather
        from prismq.observability.health import Limits, assess

        limits = Limits(oldest_ready_s=seconds_of(max_age, "--max-age"))
        with call.queue() as q:
            facts = gather(q.store, q.clock, timeout_s=_TIMEOUT_S, bins=True)
            if facts.error is not None:
                raise facts.error
            found = assess(facts, heartbeat_s=call.settings.worker.heartbeat_interval_seconds, limits=limits)
        if call.as_json:
            output.print_json(_json(found))
        else:
            _print(found)
        return Exit.OK if exit_zero or found.status == "healthy" else Exit.FAILED


def queue_json(one: QueueInfo) -> dict[str, Any]:
    """A queue for programs."""
    from prismq.domain.status import TaskStatus
    from prismq.domain.times import from_epoch

    return {
        "queue": one.queue,
        "paused": one.paused_at is not None,
        "paused_at_utc": None if one.paused_at is None else from_epoch(one.paused_at).isoformat(),
        "paused_by": one.paused_by,
        "max_running": one.max_running,
        "depth": {status.value: one.depth.get(status.value, 0) for status in TaskStatus},
        "oldest_ready_seconds": one.oldest_ready_s,
    }


def worker_json(view: WorkerView) -> dict[str, Any]:
    """A worker for programs."""
    row = view.worker.to_dict()
    for key in ("capabilities", "queues", "types"):
        row[key] = output.value_of(row[key])
    return {
        **row,
        "live": view.live,
        "condition": view.condition,
        "seconds_since_heartbeat": round(view.age_s, 3) if view.age_s != float("inf") else None,
    }


def _json(found: Health) -> dict[str, Any]:
    from prismq.domain.status import TaskStatus
    from prismq.domain.times import from_epoch

    facts, queues = found.facts, found.facts.known.queues
    return {
        "health": {"level": found.status, "sentence": found.sentence, "problems": found.problems},
        "database": facts.name,
        "at_utc": from_epoch(found.at).isoformat(),
        "depth": {one.value: sum(queue.depth.get(one.value, 0) for queue in queues) for one in TaskStatus},
        "oldest_ready_seconds": _oldest_s(found),
        "queues": [queue_json(one) for one in queues],
        "workers": [worker_json(one) for one in _here(found)],
        "unserved": [one.to_json() for one in found.unserved],
        "last_hour": _hour(found).to_json(),
        "last_24_hours": _day(found).to_json(),
    }


def _print(found: Health) -> None:
    from prismq.cli.health import say_verdict

    say_verdict(found)
    if found.facts.known.queues:
        output.heading("Queues")
        print_queues(found.facts.known.queues)
    here = _here(found)
    output.heading("Figures")
    busy, slots = (sum(getattr(one.worker, key) for one in here if one.live) for key in ("busy", "slots"))
    live = sum(one.live for one in here)
    silent = len(here) - live
    oldest_s = _oldest_s(found)
    output.print_pairs(
        [
            ("Workers", f"{live} live, {busy} of {slots} slots busy" + (f"; {silent} silent" if silent else "")),
            ("Oldest ready", "none" if oldest_s is None else f"{output.duration(oldest_s)} ago"),
            ("Last hour", _window(_hour(found))),
            ("Last 24 hours", _window(_day(found))),
            ("Run time", _run_time(_day(found))),
            ("Database", found.facts.name),
        ]
    )


def _here(found: Health) -> list[WorkerView]:
    return [one for one in found.workers if one.worker.status not in ("stopped", "lost")]


def _oldest_s(found: Health) -> float | None:
    waits = [one.oldest_ready_s for one in found.facts.known.queues if one.oldest_ready_s is not None]
    return max(waits, default=None)


def _hour(found: Health) -> Window:
    from prismq.observability.window import HOUR_S, window_of

    return window_of(found.facts.last_hour or (), HOUR_S)


def _day(found: Health) -> Window:
    from prismq.observability.window import DAY_S, window_of

    return window_of(found.facts.last_day or (), DAY_S)


def _window(window: Window) -> str:
    counts = window.counts
    per_minute = window.completed / window.seconds * 60
    rate = f"{per_minute:.1f}" if per_minute >= 1 or not per_minute else f"{per_minute:.2f}"
    text = f"{window.completed:,} completed ({rate} a minute), {window.failed:,} failed"
    for outcome in ("retried", "cancelled", "lost"):
        if counts.get(outcome):
            text += f", {counts[outcome]:,} {outcome}"
    return text


def _run_time(window: Window) -> str:
    if window.p50_run_s is None:
        return ""
    return f"p50 {output.duration(window.p50_run_s)}, p95 {output.duration(window.p95_run_s)} (24 hours)"


def print_queues(queues: list[QueueInfo]) -> None:
    """The table of queues."""
    number = [output.Column(title, right=True) for title in ("READY", "LATER", "RUNNING", "DONE", "FAILED", "OLDEST")]
    output.print_table(
        [output.Column("QUEUE"), *number, output.Column("STATE")],
        [
            (
                one.queue,
                f"{one.depth.get('queued', 0):,}",
                f"{one.depth.get('scheduled', 0):,}",
                f"{one.depth.get('claimed', 0) + one.depth.get('processing', 0):,}",
                f"{one.depth.get('completed', 0):,}",
                f"{one.depth.get('failed', 0) + one.depth.get('dead_letter', 0):,}",
                output.age(one.oldest_ready_s),
                _state(one),
            )
            for one in queues
        ],
    )


def _state(one: QueueInfo) -> str:
    words = [] if one.paused_at is None else [f"paused by {one.paused_by}" if one.paused_by else "paused"]
    if one.max_running is not None:
        words.append(f"at most {one.max_running}")
    return ", ".join(words) or "open"
