"""`prismq scale`: how many slots the queues need, and what a day would have been like with other numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import options, output
from prismq.cli.completion import complete_queue
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.domain.promise import Promise
    from prismq.observability.scaling.advice import Advice
    from prismq.observability.scaling.simulator import Replayed

group = typer.Typer(no_args_is_help=True, help="Advice on processes and slots, and days replayed with other numbers.")

_LEFT_OPEN = "-"

Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", metavar="QUEUE", help="These queues; again for more.", autocompletion=complete_queue),
]
Target = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="TIME",
        help="What queues promise that have no promise by [slo].promises or by name (within_5_minutes).",
    ),
]
Within = Annotated[
    str, typer.Option("--target", metavar="TIME", help="The wait that counts as kept, in the column WITHIN.")
]
Part = Annotated[
    float, typer.Option("--part", metavar="PART", help="The part of the tasks that the promise is for, 0.5 to 0.9999.")
]


@command(group, "advice")
def advice(call: Call, queue: Queues = None, target: Target = "60s", part: Part = 0.95) -> int:
    """Say for each queue whether the slots that serve it are enough, and how many would be.

    By Little's law, the M/M/c formula of Erlang, and what waits now. Ends with 1 where some queue wants more.
    """
    from prismq.observability.scaling.advice import advise

    promise = _promise(target, part)
    with call.queue() as q:
        _refuse_unknown(call, q, queue)
        report = advise(q.store, q.clock.now(), default=promise, promises=call.settings.slo.promises, queues=queue)
    wanting = [one for one in report.queues if one.verdict == "more"]
    if call.as_json:
        output.print_json(report.to_dict())
    elif report.queues:
        _print_advice(report.queues, report.all)
    else:
        output.say("No queue that is not paused has had a task lately, so there is nothing to measure.")
    return Exit.FAILED if wanting else Exit.OK


def _refuse_unknown(call: Call, q: PrismQ, queues: list[str] | None) -> None:
    from prismq.domain.errors import PrismqError
    from prismq.observability.scaling.known import named_in, no_queue

    nothing = no_queue(q.store, q.clock.now(), queues, named_in(call.settings)) if queues else None
    if nothing is not None:
        raise PrismqError(nothing)


def _print_advice(queues: tuple[Advice, ...], together: Advice) -> None:
    figures = ("TASKS/S", "TAKES", "BUSY", "WAITING", "TARGET", "SLOTS", "WANTED")
    columns = [
        output.Column("QUEUE"),
        *(output.Column(title, right=True) for title in figures),
        output.Column("VERDICT"),
    ]
    rows = [_row(one.queues[0], one) for one in queues]
    if len(queues) > 1:
        rows.append(_row("together", together))
    output.print_table(columns, rows)
    output.say("")
    for one in [one for one in queues if one.verdict == "more"] or [together]:
        output.say(f"{'together' if one is together and len(queues) > 1 else one.queues[0]}: {one.sentence}")


def _row(name: str, one: Advice) -> list[str]:
    from prismq.observability.scaling.advice import few

    service_s = one.demand.service_s
    return [
        name,
        few(one.demand.arrivals_per_s),
        _LEFT_OPEN if service_s is None else output.duration(service_s),
        few(one.demand.load),
        f"{one.demand.waiting:,}",
        output.duration(one.promise.target_s),
        f"{one.slots_now:,}",
        f"{one.size.slots:,}",
        one.verdict,
    ]


@command(group, "simulate")
def simulate(
    call: Call,
    slots: Annotated[list[int], typer.Option("--slots", "-s", min=1, help="How many slots; again for other sizes.")],
    queue: Queues = None,
    last: Annotated[str, typer.Option("--last", metavar="TIME", help="How far back to look, at most 7d.")] = "1d",
    growth: Annotated[float, typer.Option("--growth", help="So many times as many tasks.")] = 1.0,
    target: Within = "60s",
    part: Part = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Of the random arrivals.")] = 0,
) -> None:
    """Replay what came in the last day on other numbers of slots: how long tasks would have waited.

    Arrivals are placed at random within the ten minutes that the books keep, service times are drawn from those of the
    same ten minutes, and tasks are served in the order in which they come.
    """
    from random import Random

    from prismq.observability.scaling.simulator import SECONDS_MAX, STEP_S, day_of, replay

    promise = _promise(target, part)
    seconds = options.seconds_of(last, "--last")
    if not STEP_S <= seconds <= SECONDS_MAX:
        usage(f"--last takes a time from {STEP_S / 60:g}m to {SECONDS_MAX / 86_400:g}d, such as 2h or 1d; not {last!r}")
    with call.queue() as q:
        _refuse_unknown(call, q, queue)
        day = day_of(q.store, q.clock.now(), seconds=seconds, queues=queue)
    found = [replay(day, size, Random(seed), promise=promise, growth=growth) for size in slots]
    if call.as_json:
        output.print_json([one.to_dict() for one in found])
        return
    if found[0].is_unknown:
        came = f"{output.plural(found[0].tasks, 'task')} came in the last {output.duration(seconds)}"
        further = "" if seconds == SECONDS_MAX else f", or look further back with --last {SECONDS_MAX / 86_400:g}d"
        output.say(
            f"{came} and none has ended that could be measured, so how long one takes is not known and nothing can be "
            f"replayed. Ask again when some have ended{further}."
        )
        return
    if not found[0].tasks:
        output.say(f"No task came in the last {output.duration(seconds)}, so there is nothing to replay.")
        return
    _print_replays(found)


def _print_replays(found: list[Replayed]) -> None:
    first = found[0]
    output.say(f"{output.plural(first.tasks, 'task')} in {output.duration(first.seconds)}")
    if first.lump > 1:
        output.note(f"each simulated task stands for {first.lump} real ones, so that waits are told too long")
    titles = ("SLOTS", "P50", "P95", "P99", "LONGEST", f"WITHIN {output.duration(first.promise.target_s)}", "BUSY",
              "MOST WAITING", "DONE AFTER")  # fmt: skip
    rows = [
        [
            f"{one.slots:,}",
            *(output.duration(value) for value in (one.wait_p50_s, one.wait_p95_s, one.wait_p99_s, one.wait_max_s)),
            _LEFT_OPEN if one.kept is None else f"{one.kept:.2%}",
            f"{one.utilisation or 0.0:.1%}",
            f"{one.waiting_max or 0:,}",
            output.duration(one.drain_s),
        ]
        for one in found
    ]
    output.print_table([output.Column(title, right=True) for title in titles], rows)


def _promise(target: str, part: float) -> Promise:
    from prismq.domain.errors import InvalidArgument
    from prismq.domain.promise import Promise

    try:
        return Promise.of(options.seconds_of(target, "--target"), part)
    except InvalidArgument as error:
        usage(f"{error}; see --target and --part")
