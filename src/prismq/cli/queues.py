"""`prismq queues`: list, pause, resume, limit and purge queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import options, output, selection
from prismq.cli.completion import complete_queue
from prismq.cli.context import Call, announce, command, pause, usage
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.storage.contract import QueueInfo

group = typer.Typer(no_args_is_help=True, help="List, pause, resume, limit and purge queues.")

_LOOK_S = 0.2

Names = Annotated[list[str], typer.Argument(metavar="QUEUE...", help="Names of queues.", autocompletion=complete_queue)]
Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.", autocompletion=complete_queue)]


@command(group, "list")
def list_queues(call: Call) -> None:
    """List the queues: depth, age of the oldest ready task, paused or not, limit."""
    from prismq.cli.status import print_queues, queue_json

    with call.queue() as q:
        found = q.tasks.queues()
    if call.as_json:
        output.print_json([queue_json(one) for one in found])
    elif found:
        print_queues(found)
    else:
        output.say("There are no queues yet: a queue is there when a task was enqueued on it.")


@command(group, "pause")
def pause_queues(
    call: Call,
    queues: Names,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until nothing of them runs any more.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Wait no longer than this, and end with code 1.")
    ] = None,
) -> int:
    """Pause queues: nothing more of them is claimed until they are resumed; what runs goes on."""
    timeout_s = None if timeout is None else options.seconds_of(timeout, "--timeout")
    with call.queue() as q:
        for name in _unknown(queues, q.tasks.queues()):
            output.note(
                f"the queue {name!r} holds no task yet{_near(name, q.tasks.queues())}; it is paused all the same"
            )
        for name in queues:
            q.tasks.pause(name)
        announce(q)
        quiet = _wait_until_quiet(q, queues, timeout_s) if wait else True
        running = _running(q, queues)
    if call.as_json:
        output.print_json([{"queue": name, "paused": True, "running": running[name]} for name in queues])
    else:
        for name in queues:
            left = running[name]
            output.say(f"{name}: paused" + (f", {output.plural(left, 'task')} still running" if left else ""))
    return Exit.OK if quiet else Exit.FAILED


def _wait_until_quiet(q: PrismQ, queues: list[str], timeout_s: float | None) -> bool:
    end = None if timeout_s is None else q.clock.monotonic() + timeout_s
    while any(_running(q, queues).values()):
        if end is not None and q.clock.monotonic() >= end:
            return False
        pause(q, _LOOK_S)
    return True


def _running(q: PrismQ, queues: list[str]) -> dict[str, int]:
    depth = {one.queue: one.depth for one in q.tasks.queues()}
    return {name: sum(depth.get(name, {}).get(status, 0) for status in ("claimed", "processing")) for name in queues}


@command(group, "resume")
def resume_queues(call: Call, queues: Names) -> int:
    """Claim from queues again."""
    with call.queue() as q:
        known = q.tasks.queues()
        unknown = _unknown(queues, known)
        resumed = {name: q.tasks.resume(name) for name in queues if name not in unknown}
    if call.as_json:
        output.print_json([{"queue": name, "resumed": done} for name, done in resumed.items()])
    else:
        for name, done in resumed.items():
            output.say(f"{name}: {'resumed' if done else 'was not paused'}")
    for name in unknown:
        output.note(f"error: there is no queue {name!r}{_near(name, known)}")
    return Exit.FAILED if unknown else Exit.OK


@command(group, "limit")
def limit_queue(
    call: Call,
    queue: Name,
    at_most: Annotated[str, typer.Argument(metavar="N|none", help="At most N tasks at once, over all workers.")],
) -> None:
    """Limit how many tasks of a queue run at once, whatever the number of workers."""
    if at_most.lower() == "none":
        limit = None
    elif at_most.isascii() and at_most.isdigit() and int(at_most) > 0:
        limit = int(at_most)
    else:
        usage(f"the limit is a whole number of 1 or more, or none; not {at_most!r}. To stop a queue, pause it")
    with call.queue() as q:
        q.tasks.limit(queue, limit)
    if call.as_json:
        output.print_json({"queue": queue, "max_running": limit})
    else:
        output.say(f"{queue}: " + ("no limit" if limit is None else f"at most {output.plural(limit, 'task')} at once"))


@command(group, "purge")
def purge_queue(call: Call, queue: Name, yes: options.Yes = False) -> int:
    """Delete the waiting tasks of a queue, ready and scheduled ones. There is no way back; what runs goes on."""
    from prismq.domain.task import TaskFilter

    with call.queue() as q:
        known = q.tasks.queues()
        if _unknown([queue], known):
            output.note(f"error: there is no queue {queue!r}{_near(queue, known)}")
            return Exit.FAILED
        which = TaskFilter(queue=queue, statuses=("queued", "scheduled"))
        purge = selection.DELETE._replace(name="purge")
        return selection.act_on_matching(q, purge, which, yes=yes, as_json=call.as_json)


def _unknown(names: Iterable[str], known: Iterable[QueueInfo]) -> list[str]:
    there = {one.queue for one in known}
    return [name for name in names if name not in there]


def _near(name: str, known: Iterable[QueueInfo]) -> str:
    from prismq.domain.errors import closest

    advice = closest(name, [one.queue for one in known])
    return f".{advice}" if advice else ""
