"""`prismq schedules`: the periodic tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.completion import complete_schedule
from prismq.cli.context import Call, announce, command
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.storage.contract import Schedule

group = typer.Typer(no_args_is_help=True, help="See the periodic tasks; run, pause, resume and remove them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.", autocompletion=complete_schedule)]


@command(group, "list")
def list_schedules(call: Call) -> None:
    """List the periodic tasks: when they run, ran last and run next."""
    with call.queue() as q:
        found, now = q.store.schedules.all(), q.clock.now()
        rows = [_row(one, now) for one in found]
    if call.as_json:
        output.print_json(rows)
        return
    if not rows:
        output.say("There are no schedules. A worker writes down those that its code declares with @q.periodic(...).")
        return
    output.print_table(
        [
            output.Column("NAME"),
            output.Column("WHEN"),
            output.Column("LAST", right=True, whole=True),
            output.Column("NEXT", right=True, whole=True),
            output.Column("TASK", right=True, whole=True),
            output.Column("STATE", whole=True),
        ],
        [
            (
                one.name,
                row["description"] or row["expression"],
                _ago(one, now),
                _in(row["next_run_utc"], now),
                str(one.last_task_id or "-"),
                "paused" if row["paused"] else "active" if row["error"] is None else "broken",
            )
            for one, row in zip(found, rows, strict=True)
        ],
    )
    for row in rows:
        if row["error"] is not None:
            output.note(f"schedule {row['schedule']!r}: {row['error']}")


def _row(one: Schedule, now: float) -> dict[str, Any]:
    from prismq.domain.cron import CronSchedule
    from prismq.domain.errors import InvalidCron

    description, next_run, error = None, None, None
    try:
        cron = CronSchedule.parse(one.expression, one.timezone)
        description, next_run = cron.describe(), cron.next_after(now)
    except InvalidCron as problem:  # written by hand, or by a version that could read it
        error = str(problem)
    return {
        "schedule": one.name,
        "expression": one.expression,
        "timezone": one.timezone,
        "description": description,
        "missed": one.missed,
        "type": one.template.type,
        "queue": one.template.queue,
        "payload": output.value_of(one.template.payload),
        "last_run_utc": _iso(one.last_slot if one.last_task_id is not None else None),
        "last_task_id": one.last_task_id,
        "next_run_utc": None if one.paused_at is not None else _iso(next_run),
        "paused": one.paused_at is not None,
        "paused_at_utc": _iso(one.paused_at),
        "error": error,
    }


def _iso(epoch_s: float | None) -> str | None:
    from prismq.domain.times import from_epoch

    return None if epoch_s is None else from_epoch(epoch_s).isoformat()


def _ago(one: Schedule, now: float) -> str:
    if one.last_task_id is None or one.last_slot is None:
        return "never"
    return output.age(now - one.last_slot)


def _in(iso: str | None, now: float) -> str:
    from prismq.domain.times import text_to_epoch

    return "-" if iso is None else f"in {output.age(text_to_epoch(iso) - now)}"


@command(group, "run")
def run_schedule(call: Call, name: Name) -> int:
    """Enqueue the task of a schedule now, beside its times: the next one comes as it would."""
    from prismq.client.operator import who_am_i

    with call.queue() as q:
        found = next((one for one in q.store.schedules.all() if one.name == name), None)
        if found is None:
            return _unknown(q, name)
        template = found.template
        headers = {**template.headers, "prismq.run_by": who_am_i()}
        done = q.store.inbox.enqueue(replace(template, schedule=name, headers=headers), q.clock.now())
        announce(q)
    if call.as_json:
        output.print_json({"schedule": name, "task_id": done.task_id, "created": done.created})
    elif done.created:
        output.say(f"{name}: enqueued as task {done.task_id}.")
    else:
        output.say(f"{name}: nothing was enqueued; task {done.task_id} is there already and holds its key.")
    return Exit.OK


@command(group, "pause")
def pause_schedule(call: Call, name: Name) -> int:
    """Let a schedule's times pass until it is resumed."""
    return _set(call, name, paused=True)


@command(group, "resume")
def resume_schedule(call: Call, name: Name) -> int:
    """Let a paused schedule run again, from its next time on."""
    return _set(call, name, paused=False)


def _set(call: Call, name: str, *, paused: bool) -> int:
    with call.queue() as q:
        if not q.store.schedules.pause(name, paused, q.clock.now()):
            return _unknown(q, name)
        announce(q)
    if call.as_json:
        output.print_json({"schedule": name, "paused": paused})
    else:
        output.say(f"{name}: {'paused' if paused else 'resumed'}")
    return Exit.OK


@command(group, "remove")
def remove_schedule(call: Call, name: Name) -> int:
    """Forget a schedule. Code that still declares it brings it back when a worker starts."""
    with call.queue() as q:
        if not q.store.schedules.remove(name):
            return _unknown(q, name)
    if call.as_json:
        output.print_json({"schedule": name, "removed": True})
    else:
        output.say(f"{name}: removed. If your code still declares it, the next worker that starts brings it back.")
    return Exit.OK


def _unknown(q: PrismQ, name: str) -> int:
    from prismq.domain.errors import closest

    names = [one.name for one in q.store.schedules.all()]
    known = ", ".join(names) or "none: a worker writes down those that its code declares"
    output.note(f"error: there is no schedule {name!r}.{closest(name, names)} There are {known}")
    return Exit.FAILED
