"""`prismq slo`: what was promised, what was kept, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import output
from prismq.cli.context import Call, command
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.observability.slo.report import Day, Status

_BARS = "▁▂▃▄▅▆▇█"
_DAYS_SHOWN = 14


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "slo")
    def slo(
        call: Call,
        queue: Annotated[
            str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Only the promise of this queue.")
        ] = None,
    ) -> int:
        """Show the service levels: what was promised, what was kept, what is left of the error budget.

        Ends with 1 where a promise is broken, or where nothing is promised of the queue that was asked for.
        """
        from prismq.observability.scaling.known import named_in, no_queue
        from prismq.observability.slo.report import statuses

        missing = None
        with call.queue() as q:
            now = q.clock.now()
            found = [
                one for one in statuses(q.store, call.settings.slo, now) if queue is None or one.level.queue == queue
            ]
            if queue is not None and not found:
                missing = no_queue(q.store, now, [queue], named_in(call.settings)) or _without_promise(queue)
        if call.as_json:
            output.print_json(
                [
                    {
                        **one.to_json(),
                        "days": [{"day": _iso(day.at), "good": day.good, "total": day.total} for day in one.days],
                    }
                    for one in found
                ]
            )
        elif missing is None:
            _print(found)
        if missing is not None:
            output.note(f"error: {missing}")
            return Exit.FAILED
        return Exit.FAILED if any(one.state == "broken" for one in found) else Exit.OK


def _without_promise(queue: str) -> str:
    import json

    return (
        f"nothing is promised of the queue {queue!r}. Give it a promise in the section [slo] of the configuration "
        f"file, such as promises = {{ {json.dumps(queue)} = 300 }}, for tasks that start within 300 s; a queue whose "
        f"name says its promise (within_5_minutes) needs no setting"
    )


def _print(found: list[Status]) -> None:
    if not found:
        output.say("Nothing is promised. See the section [slo] of the configuration file.")
        return
    output.print_table(
        [
            output.Column("LEVEL", fold=True),
            output.Column("GOAL", right=True, whole=True),
            output.Column("KEPT", right=True, whole=True),
            output.Column("STATE", whole=True),
            output.Column("BUDGET", right=True, whole=True),
            output.Column("BURNS", right=True, whole=True),
            output.Column("LAST DAYS", whole=True),
        ],
        [
            (
                f"{one.level.name} {one.level.queue}".rstrip(),
                f"{100 * one.level.objective:g} %",
                "-" if one.achieved is None else f"{100 * one.achieved:.2f} %",
                one.state,
                "-" if one.achieved is None else f"{100 * (1 - one.spent):.0f} %",
                f"{_times(one.burn.rates[3600.0])} x",
                _days(one.days, one.level.objective),
            )
            for one in found
        ],
    )
    days = found[0].level.window_s / 86_400
    for one in found:
        output.say(f"  {one.level.name}: {one.title}")
    output.say(f"Over the last {days:g} days. BURNS is that of the last hour: at 1 x the budget lasts exactly as long.")


def _times(rate: float) -> str:
    """Of three figures, without an exponent."""
    return "< 0.01" if 0 < rate < 0.01 else f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _days(days: list[Day], objective: float) -> str:
    """A bar a day: the highest for one without fault, the lowest for one that spent ten times what it could."""
    letters = []
    for day in days[-_DAYS_SHOWN:]:
        if not day.total:
            letters.append("·")
            continue
        spent = (1 - day.good / day.total) / (1 - objective)
        letters.append(_BARS[max(0, min(len(_BARS) - 1, round((1 - spent / 10) * (len(_BARS) - 1))))])
    return "".join(letters)


def _iso(epoch_s: float) -> str:
    from prismq.domain.times import from_epoch

    return from_epoch(epoch_s).strftime("%Y-%m-%d")
