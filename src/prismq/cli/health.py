"""`prismq health`: the verdict for people and for programs that ask again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit
from prismq.cli.options import seconds_of

if TYPE_CHECKING:
    from prismq.observability.health import Check, Health

_CODES = {"healthy": Exit.OK, "degraded": Exit.FAILED, "unhealthy": Exit.UNHEALTHY}
_PARTS = ("database", "redis", "workers")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "health")
    def health(
        call: Call,
        part: Annotated[
            str | None, typer.Argument(metavar="[PART]", help="Only this: database, redis or workers.")
        ] = None,
        probe: Annotated[
            Literal["live", "ready"] | None,
            typer.Option(
                "--probe",
                metavar="live|ready",
                help="Only yes or no, for an orchestrator: `live`, the database answers; `ready`, it can be written, "
                "and a worker takes tasks.",
            ),
        ] = None,
        timeout: Annotated[
            str, typer.Option("--timeout", metavar="TIME", help="How long the database may take to answer.")
        ] = "2s",
    ) -> int:
        """Check the health: database, workers, progress, backlog, failures, dead letters, disk.

        Ends with 0 where it is healthy, with 1 where it is degraded, and with 2 where it is unhealthy; with --probe
        with 0 for yes and 1 for no.
        """
        from prismq.observability.health import check_health

        if part is not None and part not in _PARTS:
            usage(f"there is no part {part!r}; the parts are {', '.join(_PARTS)}")
        timeout_s = seconds_of(timeout, "--timeout")
        if probe is not None:
            return _probe(call, probe, timeout_s)
        with call.queue() as q:
            heartbeat_s = call.settings.worker.heartbeat_interval_seconds
            found = check_health(q.store, q.clock, heartbeat_s=heartbeat_s, timeout_s=timeout_s)
        shown = found.status if part is None else found.checks[part].status
        if part is not None:
            document = {
                "database": found.database_document,
                "redis": found.redis_document,
                "workers": found.workers_document,
            }[part]()
            if call.as_json:
                output.print_json(document)
            else:
                output.print_pairs([(name.replace("_", " "), _shown(value)) for name, value in document.items()])
        elif call.as_json:
            output.print_json(found.to_dict())
        else:
            _print(found)
        return _CODES.get(shown, Exit.OK)


def _probe(call: Call, probe: str, timeout_s: float) -> int:
    from prismq.observability import health

    with call.queue() as q:
        if probe == "live":
            answer = health.live(q.store, q.clock, timeout_s=timeout_s)
        else:
            heartbeat_s = call.settings.worker.heartbeat_interval_seconds
            answer = health.ready(q.store, q.clock, need_worker=True, heartbeat_s=heartbeat_s, timeout_s=timeout_s)
    if call.as_json:
        output.print_json({"probe": probe, "ok": answer.ok, "reason": answer.reason})
    else:
        output.say(f"{probe if answer.ok else f'not {probe}'}: {answer.reason}")
    return Exit.OK if answer.ok else Exit.FAILED


def say_verdict(found: Health) -> None:
    """The sentence, and every problem where there are several."""
    word, _, rest = found.sentence.partition(":")
    output.say(output.coloured("", word, f":{rest}"))
    if len(found.problems) > 1:
        for problem in found.problems:
            output.say(f"  - {problem}")


def _print(found: Health) -> None:
    say_verdict(found)
    output.heading("Checks")
    output.print_table(
        [output.Column("CHECK", whole=True), output.Column("STATUS", whole=True), output.Column("FOUND", fold=True)],
        [
            (name.replace("_", " "), check.status.replace("_", " "), _found(check))
            for name, check in found.checks.items()
        ],
    )


def _found(check: Check) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_shown(value)}" for name, value in check.data.items() if value not in (None, [])
    )


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_shown(inner)} {name}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
