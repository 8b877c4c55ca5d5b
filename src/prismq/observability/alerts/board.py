"""The alerts as people see them: what is open, what is silenced, who watches, and how the channels do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prismq.config.alerts import AlertsConfig
from prismq.domain.times import from_epoch
from prismq.observability.alerts.definitions import BY_NAME
from prismq.observability.alerts.matching import muting, silencing
from prismq.observability.alerts.rules import in_words, runbook_of
from prismq.storage.contract import Duty, Store
from prismq.storage.contract.alerts import DUTY, FIRING, AlertRecord, Canary, ChannelState, Notice, Silence

_RANK = {"page": 0, "ticket": 1, "info": 2}
STATES = ("firing", "pending", "acknowledged", "silenced", "muted")


class Shown(NamedTuple):
    """An alert, and what keeps it back: the silence it is under, and the alert it follows from."""

    record: AlertRecord
    silence: Silence | None = None
    muted_by: AlertRecord | None = None

    @property
    def state(self) -> str:
        """`pending`, `firing`, `acknowledged`, `silenced`, `muted` or `resolved`."""
        if self.record.state != FIRING:
            return self.record.state
        if self.silence is not None:
            return "silenced"
        if self.record.acked_at is not None:
            return "acknowledged"
        return "firing" if self.muted_by is None else "muted"

    def to_json(self, config: AlertsConfig) -> dict[str, Any]:
        """For programs. `config`: says where the runbooks are."""
        one = self.record
        return {
            "id": one.alert_id,
            "rule": one.rule,
            "labels": dict(one.labels),
            "severity": one.severity,
            "state": self.state,
            "summary": one.summary,
            "description": one.description,
            "value": one.value,
            "threshold": one.threshold,
            "since": iso(one.since),
            "fired_at": iso(one.fired_at),
            "resolved_at": iso(one.resolved_at),
            "notified_at": iso(one.notified_at),
            "escalated_at": iso(one.escalated_at),
            "told": list(one.told),
            "acknowledged_at": iso(one.acked_at),
            "acknowledged_by": one.acked_by,
            "note": one.ack_note,
            "silence_id": None if self.silence is None else self.silence.silence_id,
            "muted_by": None if self.muted_by is None else self.muted_by.rule,
            "runbook": runbook_of(one.rule, config),
        }


class Board(NamedTuple):
    """Everything at one time."""

    at: float
    open: Sequence[Shown]  # what fires first, the gravest first, then what is pending
    silences: Sequence[Silence]
    channels: Sequence[ChannelState]
    canaries: Sequence[Canary]
    watcher: Duty | None  # None: nobody watches

    @property
    def firing(self) -> list[Shown]:
        """Those that fire, that nobody silenced or looks after, and that follow from no other."""
        return [one for one in self.open if one.state == "firing"]


def shown_of(store: Store, records: Sequence[AlertRecord], now: float) -> list[Shown]:
    """Alerts with what keeps them back. Raises QueueDatabaseError."""
    silences, open_ = store.alerts.silences(now), store.alerts.open()
    return [Shown(one, silencing(one, silences, now), muting(one, open_)) for one in records]


def board(store: Store, now: float) -> Board:
    """Look at all of it. Raises QueueDatabaseError."""
    silences, records = store.alerts.silences(now), store.alerts.open()
    open_ = [Shown(one, silencing(one, silences, now), muting(one, records)) for one in records]
    open_.sort(key=lambda one: (STATES.index(one.state), _RANK.get(one.record.severity, 3), one.record.since))
    watcher = next((duty for duty in store.duties.all(now) if duty.name == DUTY), None)
    return Board(now, open_, silences, store.alerts.channels(), store.alerts.canaries(), watcher)


def value_in_words(record: AlertRecord) -> str:
    """The alert's figure with its unit."""
    alert = BY_NAME.get(record.rule)
    return in_words(record.value, alert.unit if alert is not None else "")


def silence_json(one: Silence, now: float) -> dict[str, Any]:
    """A silence for programs."""
    return {
        "id": one.silence_id,
        "matchers": dict(one.matchers),
        "starts_at": iso(one.starts),
        "until": iso(one.until),
        "active": one.starts <= now < one.until,
        "created_by": one.created_by,
        "created_at": iso(one.created_at),
        "reason": one.reason,
    }


def notice_json(one: Notice) -> dict[str, Any]:
    """What was said to a channel, for programs."""
    state = "given up" if one.given_up else "delivered" if one.done_at is not None else "waiting"
    return {
        "id": one.notice_id,
        "alert_id": one.alert_id,
        "channel": one.channel,
        "kind": one.kind,
        "state": state,
        "created_at": iso(one.created_at),
        "due_at": iso(one.due),
        "tries": one.tries,
        "error": one.error,
        "done_at": iso(one.done_at),
    }


def channels_json(config: AlertsConfig, states: Sequence[ChannelState]) -> list[dict[str, Any]]:
    """The channels that the settings of this process name, and those that were used; no address, no secret."""
    by_name: Mapping[str, ChannelState] = {one.channel: one for one in states}
    found = []
    for name in sorted({*config.channels, *by_name}):
        known, state = config.channels.get(name), by_name.get(name)
        failing = None if state is None else state.failing_since
        found.append(
            {
                "channel": name,
                "kind": None if known is None else known.kind,
                "severities": [] if known is None else list(known.severities),
                "escalation": known is not None and known.escalation,
                "state": "failing" if failing is not None else "fine" if state is not None else "unused",
                "delivered_at": iso(state.delivered_at) if state is not None else None,
                "failing_since": iso(failing),
                "error": None if state is None else state.error,
            }
        )
    return found


def iso(epoch_s: float | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if epoch_s is None else from_epoch(epoch_s).isoformat()
