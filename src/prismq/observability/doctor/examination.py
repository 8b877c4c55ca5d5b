"""Runs the checks, and mends what is safe. A check that fails is a finding, and the others go on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prismq.clock import Clock
from prismq.domain.errors import QueueDatabaseError, QueueSchemaError
from prismq.domain.finding import Check, Finding, Severity
from prismq.observability.doctor import alerting, cache, copies, tasks, workers
from prismq.observability.doctor.patient import Patient
from prismq.storage.contract import Store

OPEN = "open"


class Mended(NamedTuple):
    """What was mended, and how."""

    finding: Finding
    how: str


@dataclass
class Report:
    """What an examination found."""

    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    mended: list[Mended] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is left but notes."""
        return all(one.severity is Severity.NOTE for one in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "healthy": self.healthy,
            "findings": [one.to_dict() for one in self.findings],
            "mended": [{"check": one.finding.check, "what": one.finding.what, "how": one.how} for one in self.mended],
            "checked": self.checked,
            "not_checked": self.not_checked,
        }


def examine(patient: Patient, *, skip: Collection[str] = (), fix: bool = False) -> Report:
    """Look for every fault there is a check for; with `fix`, mend what can be mended without asking.

    `skip`: names of checks. Never raises for a database that is away or damaged: that is the finding.
    """
    clock = patient.clock
    report = Report()
    checks = checks_of(patient)
    report.not_checked = [one.name for one in checks if one.name in skip]
    wanted = [one for one in checks if one.name not in skip]
    for number, check in enumerate(wanted):
        report.checked.append(check.name)
        found = _look(check, clock)
        if fix and any(one.mend is not None for one in found):
            found = _mend(check, found, clock, report)
        report.findings += found
        if check.name == OPEN and found:
            # Without the tables, or without the file, the others would all say the same.
            report.not_checked += [one.name for one in wanted[number + 1 :]]
            break
    return report


def checks_of(patient: Patient) -> list[Check]:
    """Every check, in the order in which they are made; the slow ones last."""
    engine = list(patient.store.keeping.checks())
    quick = [one for one in engine if one.name != "integrity"]
    return [
        Check(
            OPEN,
            "a database that cannot be opened (on a network file system, of another program, of a newer version), or "
            "whose schema wants migrating",
            "",
            lambda now: _open(patient.store),
        ),
        *quick,
        *workers.checks_of(patient),
        *tasks.checks_of(patient),
        *alerting.checks_of(patient),
        *cache.checks_of(patient),
        *copies.checks_of(patient),
        *(one for one in engine if one.name == "integrity"),
    ]


def _open(store: Store) -> Iterator[Finding]:
    try:
        waiting = store.pending()
    except QueueSchemaError as error:
        yield Finding(
            OPEN, Severity.PROBLEM, str(error), "This version of prismq does not touch the database.",
            "Use the version that it was made with, or another database.",
        )  # fmt: skip
        return
    except QueueDatabaseError as error:
        yield Finding(
            OPEN, Severity.PROBLEM, str(error), "Nobody can work with it.",
            "Do as the message says, then run `prismq doctor` again.",
        )  # fmt: skip
        return
    if waiting:
        yield Finding(
            OPEN, Severity.PROBLEM,
            f"the schema lacks migration{'s' if len(waiting) > 1 else ''} {', '.join(map(str, waiting))}",
            "Workers and programs with this version of prismq refuse to start.",
            "Run `prismq backup create`, stop the workers of the older version, then run `prismq migrate`.",
        )  # fmt: skip


def _look(check: Check, clock: Clock) -> list[Finding]:
    try:
        return list(check.run(clock.now()))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the database, the other checks are made
        return [
            Finding(
                check.name, Severity.PROBLEM, f"this could not be checked: {type(error).__name__}: {error}",
                "The database, or something in it, is not as it should be.",
                "See what `prismq doctor` says of integrity, and look at the message.",
            )
        ]  # fmt: skip


def _mend(check: Check, found: list[Finding], clock: Clock, report: Report) -> list[Finding]:
    failed = []
    for finding in found:
        if finding.mend is None:
            continue
        try:
            report.mended.append(Mended(finding, finding.mend()))
        except QueueDatabaseError as error:
            failed.append(f"{finding.what}; mending failed: {error}")
    left = _look(check, clock)
    if failed and left:  # the reason belongs to what is still there
        first = left[0]
        left[0] = Finding(first.check, first.severity, failed[0], first.meaning, first.advice, first.mend)
    return left
