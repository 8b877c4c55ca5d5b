"""From what was measured to what is wrong: pending, firing, resolved. Pure: values in, values out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from prismq.observability.alerts.measures import Measure
from prismq.observability.alerts.rules import PLACE, Rule, in_words
from prismq.storage.contract.alerts import FIRING, PENDING, RESOLVED, AlertChange, AlertRecord

# Where nobody looked for longer than this, nobody knows whether it lasted meanwhile: it is pending anew.
GAP_S = 120.0
INSTANCES_MAX = 50  # of one rule: past this the others are not told one by one
_GONE_WORDS = "The rule was switched off, or the thing it is about is gone."


def evaluate(
    rules: Sequence[Rule], measured: Mapping[str, Sequence[Measure] | None], known: Iterable[AlertRecord], now: float
) -> list[AlertChange]:
    """What becomes of each alert: one change for every alert that is open, was, or is to be.

    `measured`: by rule; None where it could not be measured, which changes nothing. `known`: the open ones, as the
    store has them. At most INSTANCES_MAX instances of a rule are open, those that are worst.
    """
    open_: defaultdict[str, list[AlertRecord]] = defaultdict(list)
    for record in known:
        open_[record.rule].append(record)
    changes: list[AlertChange] = []
    for rule in rules:
        records, found = open_.pop(rule.name, []), measured.get(rule.name)
        if not rule.enabled:
            changes += [_ended(record, now) for record in records]
        elif found is not None:
            changes += _of_rule(rule, found, records, now)
    # What is left belongs to rules that there are no more.
    return [*changes, *(_ended(record, now) for records in open_.values() for record in records)]


def _of_rule(rule: Rule, found: Sequence[Measure], records: Sequence[AlertRecord], now: float) -> list[AlertChange]:
    measures = {_key(one.labels): one for one in found}
    changes = []
    for record in records:
        change = _next(rule, record, measures.pop(_key(record.labels), None), now)
        changes.append(change)
    bad = [one for one in measures.values() if rule.is_bad(one.value, rule.threshold_of(one.labels, one.threshold))]
    # What is infinite, or no number, would come out of place.
    bad.sort(key=lambda one: one.value, reverse=rule.comparison.value == ">")
    room = max(0, INSTANCES_MAX - sum(change.record.state != RESOLVED and not change.gone for change in changes))
    for one in bad[:room]:
        record = AlertRecord(rule.name, dict(one.labels), rule.severity.value, PENDING, None, None, "", "", now, now)
        changes.append(_next(rule, record, one, now))
    return changes


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _next(rule: Rule, record: AlertRecord, found: Measure | None, now: float) -> AlertChange:
    """The alert after one more look. `found`: None where there is nothing to measure any more, which is fine."""
    if found is None:
        bad = still = False
    else:
        threshold = rule.threshold_of(record.labels, found.threshold)
        bad = rule.is_bad(found.value, threshold)
        still = rule.is_bad(found.value, rule.clear_of(threshold)) or bad
        record = replace(record, value=found.value, threshold=threshold)
        if bad:  # else the words stay those of when it was, for whoever reads of it while it ends, and afterwards
            record = _described(rule, record, found, threshold)
    seen = record.seen
    record = replace(record, seen=now, severity=rule.severity.value)
    if record.state == PENDING:
        if not bad:
            return AlertChange(record, gone=True)
        if now - seen > GAP_S:
            record = replace(record, since=now)
        if now - record.since < rule.for_s:
            return AlertChange(record)
        return AlertChange(replace(record, state=FIRING, fired_at=now, clear_since=None))
    if still:
        return AlertChange(replace(record, clear_since=None))
    clear_since = now if record.clear_since is None else record.clear_since
    record = replace(record, clear_since=clear_since)
    if now - clear_since < rule.keep_s:
        return AlertChange(record)
    return AlertChange(replace(record, state=RESOLVED, resolved_at=now))


def _described(rule: Rule, record: AlertRecord, found: Measure, threshold: float) -> AlertRecord:
    words = {
        **{label: record.labels.get(label, "") or "of all queues" for label in rule.labels},
        "value": in_words(found.value, rule.unit),
        "threshold": in_words(threshold, rule.unit),
        "detail": found.detail,
    }
    return replace(record, summary=_filled(rule.summary, words), description=_filled(rule.description, words))


def _filled(text: str, words: Mapping[str, str]) -> str:
    # Not str.format: the text of a rule of one's own may hold any braces, and a label's value some more.
    return " ".join(PLACE.sub(lambda found: words.get(found[1], found[0]), text).split())


def _ended(record: AlertRecord, now: float) -> AlertChange:
    if record.state == PENDING:
        return AlertChange(record, gone=True)
    return AlertChange(replace(record, state=RESOLVED, resolved_at=now, seen=now, description=_GONE_WORDS))
