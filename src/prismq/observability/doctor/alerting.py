"""Faults of the alerts themselves: nobody hears."""

from __future__ import annotations

from collections.abc import Iterator

from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.words import duration
from prismq.observability.doctor.patient import Patient


def checks_of(patient: Patient) -> list[Check]:
    """Of alerts."""
    return [Check("alerts", "alert channels that do not deliver", "", lambda now: _channels(patient, now))]


def _channels(patient: Patient, now: float) -> Iterator[Finding]:
    for one in patient.store.alerts.channels():
        if one.failing_since is not None:
            yield Finding(
                "alerts", Severity.WARNING,
                f"the alert channel {one.channel!r} has delivered nothing for {duration(now - one.failing_since)}: "
                f"{one.error}",
                "Whoever relies on it does not hear of what goes wrong.",
                f"Try it with `prismq alerts test {one.channel}`, and correct its address or token.",
            )  # fmt: skip
