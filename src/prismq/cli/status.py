"""`prismq status`: is the queue well, and what is in it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.context import Call, command
from prismq.cli.exits import Exit
from prismq.cli.options import seconds_of

if TYPE_CHECKING:
    from prismq.cli.health import Health, Unserved, Window, WorkerView
    from prismq.storage.contract import QueueInfo

HOUR_S, DAY_S = 3600.0, 86_400.0


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
        from prismq.cli import health

        oldest_ready_max_s = seconds_of(max_age, "--max-age")
        with call.queue() as q:
            store, now = q.store, q.clock.now()
            queues = store.queues.all(now)
            workers = health.views(store.workers.all(), queues, now, call.settings.worker.heartbeat_interval_seconds)
            left_alone = health.unserved(store.insight.depth(), queues, workers)
            hour = health.window_of(store.insight.outcomes(now - HOUR_S, now), HOUR_S)
            day = health.window_of(store.insight.outcomes(now - DAY_S, now), DAY_S)
            verdict = health.assess(
                queues, workers, left_alone, hour,
                now=now, next_due=store.work.next_due(), oldest_ready_max_s=oldest_ready_max_s,
            )  # fmt: skip
            oldest_s = store.insight.oldest_ready_s(now)
            name = store.name
        if call.as_json:
            output.print_json(_json(name, now, verdict, queues, workers, left_alone, oldest_s, hour, day))
        else:
            _print(name, verdict, queues, workers, oldest_s, hour, day)
        return Exit.OK if exit_zero or verdict.level == "healthy" else Exit.FAILED


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


def _json(
    name: str,
    now: float,
    verdict: Health,
    queues: list[QueueInfo],
    workers: list[WorkerView],
    left_alone: list[Unserved],
    oldest_s: float | None,
    hour: Window,
    day: Window,
) -> dict[str, Any]:
    from prismq.domain.status import TaskStatus
    from prismq.domain.times import from_epoch

    return {
        "health": {"level": verdict.level, "sentence": verdict.sentence, "problems": verdict.problems},
        "database": name,
        "at_utc": from_epoch(now).isoformat(),
        "depth": {one.value: sum(queue.depth.get(one.value, 0) for queue in queues) for one in TaskStatus},
        "oldest_ready_seconds": oldest_s,
        "queues": [queue_json(one) for one in queues],
        "workers": [worker_json(one) for one in workers if one.worker.status not in ("stopped", "lost")],
        "unserved": [one._asdict() for one in left_alone],
        "last_hour": hour.to_json(),
        "last_24_hours": day.to_json(),
    }


def _print(
    name: str,
    verdict: Health,
    queues: list[QueueInfo],
    workers: list[WorkerView],
    oldest_s: float | None,
    hour: Window,
    day: Window,
) -> None:
    level, _, rest = verdict.sentence.partition(":")
    output.say(output.coloured("", level, f":{rest}"))
    for problem in verdict.problems if len(verdict.problems) > 1 else ():
        output.say(f"  - {problem}")
    if queues:
        output.heading("Queues")
        print_queues(queues)
    here = [one for one in workers if one.worker.status not in ("stopped", "lost")]
    output.heading("Figures")
    busy, slots = (sum(getattr(one.worker, key) for one in here if one.live) for key in ("busy", "slots"))
    live = sum(one.live for one in here)
    silent = len(here) - live
    output.print_pairs(
        [
            ("Workers", f"{live} live, {busy} of {slots} slots busy" + (f"; {silent} silent" if silent else "")),
            ("Oldest ready", "none" if oldest_s is None else f"{output.duration(oldest_s)} ago"),
            ("Last hour", _window(hour)),
            ("Last 24 hours", _window(day)),
            ("Run time", _run_time(day)),
            ("Database", name),
        ]
    )


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
