"""`prismq workers`: who works here, and telling them to pause, resume, drain or resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import output
from prismq.cli.completion import complete_worker
from prismq.cli.context import Call, announce, command, pause
from prismq.cli.exits import Exit
from prismq.cli.options import seconds_of

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.observability.condition import WorkerView

group = typer.Typer(no_args_is_help=True, help="See the workers; pause, resume, drain and resize them.")

_LOOK_S = 0.2
_ENDED = ("stopped", "lost")

Which = Annotated[
    list[str],
    typer.Argument(
        metavar="WORKER...",
        help="Workers by id, by the beginning of an id or of its last part; or `all`.",
        autocompletion=complete_worker,
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until they have done it.")]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="Wait no longer than this, and end with code 1.")
]


@command(group, "list")
def list_workers(
    call: Call, ended: Annotated[bool, typer.Option("--all", "-a", help="Those that have ended, too.")] = False
) -> None:
    """List the workers: load, heartbeat, and whether they do what they should.

    `late heartbeat`: it should have reported by now. `silent`: it has not for a minute or more, and may be gone.
    `not consuming`: it reports, has free slots, and does not look for the work that waits.
    """
    from prismq.cli.status import worker_json

    with call.queue() as q:
        found = [one for one in _views(q, call) if ended or one.worker.status not in _ENDED]
    if call.as_json:
        output.print_json([worker_json(one) for one in found])
    elif not found:
        output.say("No worker is running. Start one with `prismq worker module:app`.")
    else:
        _print(found)


def _views(q: PrismQ, call: Call) -> list[WorkerView]:
    from prismq.observability.condition import crew_of

    return crew_of(q.store.standing(q.clock.now()), call.settings.worker.heartbeat_interval_seconds)


def _print(found: Sequence[WorkerView]) -> None:
    output.print_table(
        [
            output.Column("WORKER", whole=True),
            output.Column("STATE", whole=True),
            output.Column("BUSY", right=True, whole=True),
            output.Column("BEAT", right=True, whole=True),
            output.Column("DONE", right=True),
            output.Column("FAILED", right=True),
            output.Column("MEMORY", right=True),
            output.Column("QUEUES"),
        ],
        [
            (
                one.worker.worker_id,
                one.condition,
                f"{one.worker.busy}/{one.worker.slots}",
                output.age(None if one.age_s == float("inf") else one.age_s),
                f"{one.worker.completed:,}",
                f"{one.worker.failed:,}",
                "-" if one.worker.memory_bytes is None else f"{one.worker.memory_bytes / 1_048_576:,.0f} MiB",
                "all" if one.queues is None else ", ".join(one.queues),
            )
            for one in found
        ],
    )
    for one in found:
        if one.condition != one.worker.status:
            output.say(f"{one.worker.worker_id} is {one.worker.status} by its own word, and {_explained(one)}")
        if one.worker.note:
            output.say(f"{one.worker.worker_id}: {one.worker.note}")


def _explained(one: WorkerView) -> str:
    if one.condition == "not consuming":
        return f"reports, but has claimed nothing for {output.duration(one.idle_s)} while tasks wait that it could run"
    return f"has not reported for {output.duration(one.age_s)}"


@command(group, "pause")
def pause_workers(call: Call, workers: Which, wait: Wait = False, timeout: Timeout = None) -> int:
    """Let workers finish what they run, and claim nothing more until they are resumed."""
    return _tell(call, workers, "pause", None, ("paused", *_ENDED) if wait else (), timeout)


@command(group, "resume")
def resume_workers(call: Call, workers: Which, wait: Wait = False, timeout: Timeout = None) -> int:
    """Let paused workers claim again."""
    return _tell(call, workers, "resume", None, ("active", *_ENDED) if wait else (), timeout)


@command(group, "drain")
def drain_workers(call: Call, workers: Which, wait: Wait = False, timeout: Timeout = None) -> int:
    """Let workers finish what they run, and end."""
    return _tell(call, workers, "drain", None, _ENDED if wait else (), timeout)


@command(group, "resize")
def resize_workers(
    call: Call,
    workers: Which,
    slots: Annotated[int, typer.Option("--slots", "-n", min=1, max=1000, help="How many tasks at a time, each.")],
) -> int:
    """Change how many tasks workers run at a time."""
    return _tell(call, workers, "resize", slots, (), None)


def _tell(
    call: Call, names: list[str], word: str, argument: int | None, until: tuple[str, ...], timeout: str | None
) -> int:
    from prismq.client.operator import who_am_i
    from prismq.domain.worker import WorkerCommand

    timeout_s = None if timeout is None else seconds_of(timeout, "--timeout")
    with call.queue() as q:
        chosen = _choose(names, _views(q, call))
        if chosen is None:
            return Exit.FAILED
        for one in chosen:
            q.store.workers.ask(one.worker.worker_id, WorkerCommand(word), argument, who_am_i(), q.clock.now())
            if not one.live or one.condition == "late heartbeat":
                output.note(
                    f"{one.worker.worker_id} has not reported for {output.duration(one.age_s)}; it may never read this"
                )
        announce(q)
        ids = [one.worker.worker_id for one in chosen]
        late = _wait_for(q, ids, until, timeout_s) if until else []
        statuses = _statuses(q, ids)
    if call.as_json:
        output.print_json(
            [{"worker_id": one, "command": word, "slots": argument, "status": statuses[one]} for one in ids]
        )
    else:
        for worker_id in ids:
            said = f"{word} to {output.plural(argument, 'slot')}" if argument is not None else word
            output.say(f"{worker_id}: asked to {said}" + (f", and is {statuses[worker_id]}" if until else ""))
    for worker_id in late:
        output.note(f"error: {worker_id} is still {statuses[worker_id]} after {timeout}")
    return Exit.FAILED if late else Exit.OK


def _choose(names: list[str], known: Sequence[WorkerView]) -> list[WorkerView] | None:
    """The workers meant, each once; None, after saying why, where a name means none or several."""
    candidates = [one for one in known if one.worker.status not in _ENDED]
    if "all" in names:
        if not candidates:
            output.note("error: no worker is running")
            return None
        return candidates
    chosen: dict[str, WorkerView] = {}
    for name in names:
        found = [one for one in candidates if one.worker.worker_id == name] or [
            one
            for one in candidates
            if one.worker.worker_id.startswith(name) or one.worker.worker_id.rpartition("-")[2].startswith(name)
        ]
        if len(found) != 1:
            ids = [one.worker.worker_id for one in found or candidates]
            what = f"{name!r} means several workers" if found else f"no running worker is called {name!r}"
            output.note(f"error: {what}; there are {', '.join(ids) or 'none'}. Nobody was asked anything")
            return None
        chosen[found[0].worker.worker_id] = found[0]
    return list(chosen.values())


def _statuses(q: PrismQ, ids: list[str]) -> dict[str, str]:
    found = {one: q.store.workers.get(one) for one in ids}
    return {one: worker.status if worker else "stopped" for one, worker in found.items()}


def _wait_for(q: PrismQ, ids: list[str], until: tuple[str, ...], timeout_s: float | None) -> list[str]:
    end = None if timeout_s is None else q.clock.monotonic() + timeout_s
    while late := [one for one, status in _statuses(q, ids).items() if status not in until]:
        if end is not None and q.clock.monotonic() >= end:
            return late
        pause(q, _LOOK_S)
    return []
