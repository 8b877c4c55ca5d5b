"""Who has to be told what about an alert: at first, again, when nobody cares, and when it is over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from prismq.config.alerts import ChannelConfig
from prismq.observability.alerts.matching import muting, silencing
from prismq.observability.alerts.rules import Rule
from prismq.storage.contract.alerts import FIRING, RESOLVED, AlertChange, AlertRecord, NewNotice, Silence


class Manners(NamedTuple):
    """How people are told. Times in seconds."""

    group_wait_s: float
    repeat_s: float
    escalate_after_s: float


def with_notices(
    change: AlertChange,
    rule: Rule | None,
    channels: Mapping[str, ChannelConfig],
    silences: Iterable[Silence],
    manners: Manners,
    now: float,
    *,
    around: Iterable[AlertRecord] = (),
) -> AlertChange:
    """The change with what has to be said about it; its record remembers who was told, and when.

    A silenced alert is told when the silence is over, if it fires then, and is not about to be over; so is one that
    follows from another, which is among `around` and fires. One that somebody has acknowledged is neither repeated nor
    escalated. Who was told that it fires is told that it is over, silenced or not.
    """
    record = change.record
    if change.gone:
        return change
    due = now + manners.group_wait_s
    if record.state == RESOLVED:
        told = [name for name in record.told if name in channels and channels[name].resolved]
        return replace(change, notices=_notices(told, "resolved", record, rule, due))
    kept_back = silencing(record, silences, now) is not None or muting(record, around) is not None
    if record.state != FIRING or kept_back:
        return change
    notices: list[NewNotice] = []
    # Not while somebody looks after it, nor while it is about to be over.
    nags = record.acked_at is None and record.clear_since is None
    if record.notified_at is None:
        if record.clear_since is not None:
            return change
        first = _fitting(channels, record, escalation=False)
        notices += _notices(first, "firing", record, rule, due)
        record = replace(record, notified_at=now, told=_and(record.told, first))
    elif nags and now - record.notified_at >= manners.repeat_s:
        again = [name for name in record.told if name in channels]
        notices += _notices(again, "repeat", record, rule, due)
        record = replace(record, notified_at=now)
    waited_s = 0.0 if record.fired_at is None else now - record.fired_at
    if nags and record.escalated_at is None and waited_s >= manners.escalate_after_s:
        others = [name for name in _fitting(channels, record, escalation=True) if name not in record.told]
        if others:
            notices += _notices(others, "escalation", record, rule, now)
            record = replace(record, escalated_at=now, told=_and(record.told, others))
    return replace(change, record=record, notices=notices)


def _fitting(channels: Mapping[str, ChannelConfig], record: AlertRecord, *, escalation: bool) -> list[str]:
    queue = record.labels.get("queue")
    return [
        name
        for name, one in channels.items()
        if one.escalation == escalation
        and record.severity in one.severities
        and (one.queues is None or not queue or queue in one.queues)
        # It would not arrive, and the others shall know.
        and not (record.rule == "AlertChannelFailing" and record.labels.get("channel") == name)
    ]


def _and(told: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*told, *more)))


def _notices(channels: Sequence[str], kind: str, record: AlertRecord, rule: Rule | None, due: float) -> list[NewNotice]:
    content = content_of(record, rule)
    return [NewNotice(channel, kind, content, due) for channel in channels]


def content_of(record: AlertRecord, rule: Rule | None) -> dict[str, Any]:
    """The alert as a message tells it."""
    return {
        "rule": record.rule,
        "group": rule.group if rule is not None else "",
        "labels": dict(record.labels),
        "severity": record.severity,
        "state": record.state,
        "summary": record.summary,
        "description": record.description,
        "value": record.value,
        "threshold": record.threshold,
        "unit": rule.unit if rule is not None else "",
        "runbook": rule.runbook if rule is not None else None,
        "since": record.since,
        "fired_at": record.fired_at,
        "resolved_at": record.resolved_at,
    }
