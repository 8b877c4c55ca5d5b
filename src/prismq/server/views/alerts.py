"""The alerts: what is open, what was, silences, channels, rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prismq.app import PrismQ
from prismq.config.alerts import AlertsConfig
from prismq.observability.alerts.board import Board, Shown, board, channels_json, value_in_words
from prismq.observability.alerts.definitions import ALERTS
from prismq.observability.alerts.rules import Rule, in_words, rules_of
from prismq.storage.contract.alerts import AlertRecord, Silence

_HISTORY_SHOWN = 50
SILENCE_HOURS = (1, 2, 4, 8, 24, 72, 168)


@dataclass(frozen=True)
class Row:
    """An alert as the table shows it."""

    shown: Shown
    value: str

    @property
    def record(self) -> AlertRecord:
        """The alert."""
        return self.shown.record

    @property
    def silence_fields(self) -> list[tuple[str, str]]:
        """The form's fields for a silence of this alert alone."""
        labels = [(f"label_{name}", value) for name, value in self.record.labels.items() if value]
        return [("hours", "4"), ("rule", self.record.rule), *labels]


@dataclass(frozen=True)
class RuleRow:
    """A rule as the table shows it."""

    rule: Rule
    condition: str


@dataclass(frozen=True)
class AlertsPage:
    """The page."""

    board: Board
    open: Sequence[Row]
    history: Sequence[Row]
    next_before_id: int | None
    silences: Sequence[Silence]
    channels: Sequence[Mapping[str, Any]]
    rules: Sequence[RuleRow]
    rule_names: Sequence[str]
    at: float


def alerts_page(q: PrismQ, config: AlertsConfig, before_id: int | None) -> AlertsPage:
    """Everything on the page; `before_id`: where the history goes on. Raises QueueDatabaseError."""
    now = q.clock.now()
    found = board(q.store, now)
    history = q.store.alerts.history(limit=_HISTORY_SHOWN + 1, before_id=before_id)
    return AlertsPage(
        found,
        [Row(one, value_in_words(one.record)) for one in found.open],
        [Row(Shown(one), value_in_words(one)) for one in history[:_HISTORY_SHOWN]],
        history[_HISTORY_SHOWN - 1].alert_id if len(history) > _HISTORY_SHOWN else None,
        found.silences,
        channels_json(config, found.channels),
        [RuleRow(one, f"{one.comparison} {in_words(one.threshold, one.unit)}") for one in rules_of(config)],
        [*(alert.name for alert in ALERTS), *config.own_rules],
        now,
    )


def summary_of(q: PrismQ) -> Board:
    """What the overview says of it. Raises QueueDatabaseError."""
    return board(q.store, q.clock.now())
