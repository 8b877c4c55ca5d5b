"""`prismq doctor`: what is wrong, what it means, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prismq.cli import output
from prismq.cli.bare import bare_store
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.domain.finding import Finding
    from prismq.observability.doctor.examination import Report


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor")
    def doctor(
        call: Call,
        fix: Annotated[
            bool, typer.Option("--fix", help="Mend what is safe to mend while the queue works, and look again.")
        ] = False,
        skip: Annotated[
            list[str] | None,
            typer.Option("--skip", metavar="CHECK", help="Leave out this check; may be repeated."),
        ] = None,
    ) -> int:
        """Look for everything that goes wrong in practice, and say what it means and what to do.

        Ends with 0 where nothing is wrong, or all of it was mended, and with 1 otherwise.
        """
        from prismq.clock import SYSTEM_CLOCK
        from prismq.observability.doctor.examination import checks_of, examine
        from prismq.observability.doctor.patient import Patient

        worker = call.settings.worker
        heartbeat_s = worker.heartbeat_interval_seconds
        with bare_store(call) as store:
            patient = Patient(
                store,
                SYSTEM_CLOCK,
                heartbeat_s,
                worker.backup_interval_seconds,
                worker.backup_dir,
                call.settings.redis_url,
            )
            names = [one.name for one in checks_of(patient)]
            unknown = [name for name in skip or () if name not in names]
            if unknown:
                usage(f"there is no check {unknown[0]!r}. The checks are {', '.join(names)}")
            report = examine(patient, skip=skip or (), fix=fix)
            name = store.name
        if call.as_json:
            output.print_json({"database": name, **report.to_dict()})
        else:
            _print(name, report)
        return Exit.OK if report.healthy else Exit.FAILED


def _print(name: str, report: Report) -> None:
    output.say(f"{name}: {output.plural(len(report.checked), 'check')} made, {_verdict(report)}.")
    for one in report.mended:
        output.say(output.coloured("\n", "mended", f" ({one.finding.check}): {one.finding.what}"))
        output.say(f"  {_sentence(one.how)}")
    for finding in report.findings:
        _print_finding(finding)
    if report.not_checked:
        output.say(f"\nNot checked: {', '.join(report.not_checked)}.")


def _verdict(report: Report) -> str:
    if not report.findings:
        return "nothing is wrong" + (" any more" if report.mended else "")
    kinds = [str(one.severity) for one in report.findings]
    return ", ".join(output.plural(kinds.count(kind), kind) for kind in ("problem", "warning", "note") if kind in kinds)


def _print_finding(finding: Finding) -> None:
    output.say(output.coloured("\n", str(finding.severity), f" ({finding.check}): {_sentence(finding.what)}"))
    output.say(f"  What it means: {finding.meaning}")
    output.say(f"  What to do: {finding.advice}" + (" `prismq doctor --fix` does it." if finding.mend else ""))


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
