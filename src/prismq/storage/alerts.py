"""Alerts, who is told of them, and the samples of service levels, on either engine. The tables are small."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from prismq.domain.task import json_list, json_object
from prismq.storage.contract.alerts import (
    DUTY,
    AlertChange,
    AlertRecord,
    Canary,
    ChannelState,
    NewNotice,
    Notice,
    Sample,
    Silence,
)
from prismq.storage.tables import Row, Tables

_ID_MAX = 2**63 - 1
_ERROR_CHARS_MAX = 500
_FOLD_AFTER_S, _FOLDED_SPAN_S = 2 * 86_400.0, 3600

_ALERT = (
    "SELECT rule, labels, severity, state, value, threshold, summary, description, since_utc, seen_utc,"
    " clear_since_utc, fired_at_utc, resolved_at_utc, notified_at_utc, escalated_at_utc, told, acked_at_utc,"
    " acked_by, ack_note, alert_id FROM alerts"
)
_OPEN = f"{_ALERT} WHERE state <> 'resolved' ORDER BY alert_id"
_GET = f"{_ALERT} WHERE alert_id = :id"
_HISTORY = (
    f"{_ALERT} WHERE alert_id < :before AND fired_at_utc IS NOT NULL"
    " AND (CAST(:rule AS TEXT) IS NULL OR rule = :rule) ORDER BY alert_id DESC LIMIT :limit"
)
_INSERT = """
INSERT INTO alerts (rule, labels, severity, state, value, threshold, summary, description, since_utc, seen_utc,
                    clear_since_utc, fired_at_utc, resolved_at_utc, notified_at_utc, escalated_at_utc, told)
VALUES (:rule, :labels, :severity, :state, :value, :threshold, :summary, :description, :since, :seen,
        :clear_since, :fired_at, :resolved_at, :notified_at, :escalated_at, :told)
RETURNING alert_id
"""
# Not the acknowledgement: an operator may have given it meanwhile.
_UPDATE = """
UPDATE alerts
   SET severity = :severity, state = :state, value = :value, threshold = :threshold, summary = :summary,
       description = :description, seen_utc = :seen, clear_since_utc = :clear_since, fired_at_utc = :fired_at,
       resolved_at_utc = :resolved_at, notified_at_utc = :notified_at, escalated_at_utc = :escalated_at, told = :told
 WHERE alert_id = :id
"""
_DELETE = "DELETE FROM alerts WHERE alert_id = :id"
# A write, so that on PostgreSQL a rival waits until this transaction is over.
_HOLDS = "UPDATE duties SET rank = rank WHERE duty = :duty AND holder = :holder AND until_utc > :now"
_ACKNOWLEDGE = (
    "UPDATE alerts SET acked_at_utc = :now, acked_by = :by, ack_note = :note"
    " WHERE alert_id = :id AND state <> 'resolved'"
)
_SILENCES = (
    "SELECT silence_id, matchers, starts_utc, until_utc, created_by, created_at_utc, reason FROM alert_silences"
    " WHERE until_utc > :since ORDER BY silence_id DESC"
)
_SILENCE = """
INSERT INTO alert_silences (matchers, starts_utc, until_utc, created_by, created_at_utc, reason)
VALUES (:matchers, :starts, :until, :by, :created_at, :reason)
RETURNING silence_id
"""
_UNSILENCE = "UPDATE alert_silences SET until_utc = :now WHERE silence_id = :id AND until_utc > :now"
_SAY = """
INSERT INTO alert_notices (alert_id, channel, kind, content, created_at_utc, due_utc)
VALUES (:alert_id, :channel, :kind, :content, :now, :due)
"""
_NOTICE = (
    "SELECT notice_id, alert_id, channel, kind, content, created_at_utc, due_utc, tries, error, done_at_utc, given_up"
    " FROM alert_notices"
)
_DUE = f"{_NOTICE} WHERE done_at_utc IS NULL AND due_utc <= :now ORDER BY notice_id LIMIT :limit"
_NOTICES = (
    f"{_NOTICE} WHERE CAST(:alert_id AS BIGINT) IS NULL OR alert_id = :alert_id ORDER BY notice_id DESC LIMIT :limit"
)
_DONE = "UPDATE alert_notices SET done_at_utc = :now, tries = tries + 1, error = NULL WHERE notice_id = :id"
_NOT_DONE = (
    "UPDATE alert_notices SET due_utc = :due, tries = tries + 1, error = :error, done_at_utc = :done,"
    " given_up = :given_up WHERE notice_id = :id"
)
_CHANNEL_OK = """
INSERT INTO alert_channels (channel, delivered_at_utc) VALUES (:channel, :now)
ON CONFLICT (channel) DO UPDATE SET delivered_at_utc = excluded.delivered_at_utc, failing_since_utc = NULL, error = NULL
"""
_CHANNEL_FAILED = """
INSERT INTO alert_channels AS c (channel, failing_since_utc, error) VALUES (:channel, :now, :error)
ON CONFLICT (channel) DO UPDATE
   SET failing_since_utc = coalesce(c.failing_since_utc, excluded.failing_since_utc), error = excluded.error
"""
_CHANNELS = "SELECT channel, delivered_at_utc, failing_since_utc, error FROM alert_channels"
_FORGET_CHANNEL = "DELETE FROM alert_channels WHERE channel = :channel"
_WAITING_CHANNELS = "SELECT DISTINCT channel FROM alert_notices WHERE done_at_utc IS NULL"
_DROP_NOTICES = (
    "UPDATE alert_notices SET done_at_utc = due_utc, given_up = 1, error = 'the channel is no longer configured'"
    " WHERE done_at_utc IS NULL AND channel = :channel"
)
_CANARIES = "SELECT queue, task_id, enqueued_at_utc, done_at_utc, took_s, waiting_since_utc FROM canaries"
_PUT_CANARY = """
INSERT INTO canaries (queue, task_id, enqueued_at_utc, done_at_utc, took_s, waiting_since_utc)
VALUES (:queue, :task_id, :enqueued_at, :done_at, :took_s, :waiting_since)
ON CONFLICT (queue) DO UPDATE
   SET task_id = excluded.task_id, enqueued_at_utc = excluded.enqueued_at_utc, done_at_utc = excluded.done_at_utc,
       took_s = excluded.took_s, waiting_since_utc = excluded.waiting_since_utc
"""
_FORGET_CANARY = "DELETE FROM canaries WHERE queue = :queue"
_PRUNE = (
    "DELETE FROM alerts WHERE state = 'resolved' AND resolved_at_utc < :before",
    "DELETE FROM alert_silences WHERE until_utc < :before",
    "DELETE FROM alert_notices WHERE done_at_utc < :before",
)
_ADD_SAMPLE = """
INSERT INTO service_samples AS s (series, span_s, slot_utc, good, total) VALUES (:series, :span_s, :slot, :good, :total)
ON CONFLICT (series, span_s, slot_utc) DO UPDATE SET good = s.good + excluded.good, total = s.total + excluded.total
"""
_SAMPLES = (
    "SELECT series, slot_utc, good, total, span_s FROM service_samples WHERE slot_utc >= :since AND slot_utc < :until"
)
_TAKE_OLD = (
    "DELETE FROM service_samples WHERE span_s = 60 AND slot_utc < :before RETURNING series, slot_utc, good, total"
)
_PRUNE_SAMPLES = "DELETE FROM service_samples WHERE slot_utc < :before"


class Alerts:
    """The AlertStore protocol."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def open(self) -> list[AlertRecord]:
        """See AlertStore.open."""
        return [self._alert(row) for row in self._tables.rows(_OPEN)]

    def history(self, *, rule: str | None = None, limit: int = 100, before_id: int | None = None) -> list[AlertRecord]:
        """See AlertStore.history."""
        before = _ID_MAX if before_id is None else before_id
        return [self._alert(row) for row in self._tables.rows(_HISTORY, rule=rule, before=before, limit=max(0, limit))]

    def get(self, alert_id: int) -> AlertRecord | None:
        """See AlertStore.get."""
        return next((self._alert(row) for row in self._tables.rows(_GET, id=alert_id)), None)

    def record(self, changes: Sequence[AlertChange], holder: str, now: float) -> bool:
        """See AlertStore.record."""
        with self._tables.transaction():
            if not self._tables.run(_HOLDS, duty=DUTY, holder=holder, now=self._tables.at(now)):
                return False
            for change in changes:
                self._write(change, now)
        return True

    def _write(self, change: AlertChange, now: float) -> None:
        record = change.record
        if change.gone:
            self._tables.run(_DELETE, id=record.alert_id)
            return
        values = {
            "severity": record.severity,
            "state": record.state,
            "value": record.value,
            "threshold": record.threshold,
            "summary": record.summary,
            "description": record.description,
            "seen": self._tables.at(record.seen),
            "told": json.dumps(record.told),
            **{
                name: self._maybe(getattr(record, name))
                for name in ("clear_since", "fired_at", "resolved_at", "notified_at", "escalated_at")
            },
        }
        alert_id = record.alert_id
        if alert_id:
            self._tables.run(_UPDATE, id=alert_id, **values)
        else:
            labels, since = _dumped(record.labels), self._tables.at(record.since)
            alert_id = self._tables.rows(_INSERT, rule=record.rule, labels=labels, since=since, **values)[0][0]
        for notice in change.notices:
            self._say(notice, alert_id, now)

    def acknowledge(self, alert_id: int, by: str, note: str | None, now: float) -> bool:
        """See AlertStore.acknowledge."""
        return self._tables.run(_ACKNOWLEDGE, id=alert_id, by=by, note=note, now=self._tables.at(now)) > 0

    # -- silences

    def silences(self, now: float, *, past: bool = False) -> list[Silence]:
        """See AlertStore.silences."""
        back = self._tables.back
        return [
            Silence(number, json_object(matchers), back(starts), back(until), by, back(created), reason)
            for number, matchers, starts, until, by, created, reason in self._tables.rows(
                _SILENCES, since=self._tables.at(0.0 if past else now)
            )
        ]

    def silence(self, silence: Silence) -> int:
        """See AlertStore.silence."""
        at = self._tables.at
        rows = self._tables.rows(
            _SILENCE,
            matchers=_dumped(silence.matchers),
            starts=at(silence.starts),
            until=at(silence.until),
            by=silence.created_by,
            created_at=at(silence.created_at),
            reason=silence.reason,
        )
        return int(rows[0][0])

    def unsilence(self, silence_id: int, now: float) -> bool:
        """See AlertStore.unsilence."""
        return self._tables.run(_UNSILENCE, id=silence_id, now=self._tables.at(now)) > 0

    # -- what is said

    def _say(self, notice: NewNotice, alert_id: int, now: float) -> None:
        content = {**notice.content, "alert_id": alert_id}
        self._tables.run(
            _SAY,
            alert_id=alert_id,
            channel=notice.channel,
            kind=notice.kind,
            content=_dumped(content),
            now=self._tables.at(now),
            due=self._tables.at(notice.due),
        )

    def due_notices(self, now: float, *, limit: int = 1000) -> list[Notice]:
        """See AlertStore.due_notices."""
        return [self._notice(row) for row in self._tables.rows(_DUE, now=self._tables.at(now), limit=limit)]

    def notices(self, *, alert_id: int | None = None, limit: int = 100) -> list[Notice]:
        """See AlertStore.notices."""
        rows = self._tables.rows(_NOTICES, alert_id=alert_id, limit=max(0, limit))
        return [self._notice(row) for row in rows]

    def delivered(self, channel: str, notice_ids: Sequence[int], now: float) -> None:
        """See AlertStore.delivered."""
        moment = self._tables.at(now)
        with self._tables.transaction():
            for notice_id in notice_ids:
                self._tables.run(_DONE, id=notice_id, now=moment)
            self._tables.run(_CHANNEL_OK, channel=channel, now=moment)

    def not_delivered(
        self, channel: str, notice_ids: Sequence[int], error: str, now: float, *, retry_at: float | None
    ) -> None:
        """See AlertStore.not_delivered."""
        moment = self._tables.at(now)
        due = moment if retry_at is None else self._tables.at(retry_at)
        done = moment if retry_at is None else None
        with self._tables.transaction():
            for notice_id in notice_ids:
                values = {"due": due, "done": done, "given_up": int(retry_at is None)}
                self._tables.run(_NOT_DONE, id=notice_id, error=error[:_ERROR_CHARS_MAX], **values)
            self._tables.run(_CHANNEL_FAILED, channel=channel, now=moment, error=error[:_ERROR_CHARS_MAX])

    def channels(self) -> list[ChannelState]:
        """See AlertStore.channels."""
        return sorted(
            ChannelState(channel, self._when(delivered), self._when(failing), error)
            for channel, delivered, failing, error in self._tables.rows(_CHANNELS)
        )

    def forget_channels(self, known: Sequence[str]) -> None:
        """See AlertStore.forget_channels."""
        waiting = {channel for (channel,) in self._tables.rows(_WAITING_CHANNELS)}
        for channel in sorted(({one.channel for one in self.channels()} | waiting) - set(known)):
            with self._tables.transaction():
                self._tables.run(_FORGET_CHANNEL, channel=channel)
                self._tables.run(_DROP_NOTICES, channel=channel)

    # -- canaries

    def canaries(self) -> list[Canary]:
        """See AlertStore.canaries."""
        return sorted(
            Canary(queue, task_id, self._tables.back(enqueued), self._when(done), took_s, self._when(waiting))
            for queue, task_id, enqueued, done, took_s, waiting in self._tables.rows(_CANARIES)
        )

    def put_canary(self, canary: Canary) -> None:
        """See AlertStore.put_canary."""
        self._tables.run(
            _PUT_CANARY,
            queue=canary.queue,
            task_id=canary.task_id,
            enqueued_at=self._tables.at(canary.enqueued_at),
            done_at=self._maybe(canary.done_at),
            took_s=canary.took_s,
            waiting_since=self._maybe(canary.waiting_since),
        )

    def forget_canaries(self, queues: Sequence[str]) -> None:
        """See AlertStore.forget_canaries."""
        for canary in self.canaries():
            if canary.queue not in queues:
                self._tables.run(_FORGET_CANARY, queue=canary.queue)

    def prune(self, before: float) -> int:
        """See AlertStore.prune."""
        moment = self._tables.at(before)
        with self._tables.transaction():
            return sum(self._tables.run(sql, before=moment) for sql in _PRUNE)

    # -- rows

    def _alert(self, row: Row) -> AlertRecord:
        rule, labels, severity, state, value, threshold, summary, description, since, seen, *rest = row
        clear, fired, resolved, notified, escalated, told, acked_at, acked_by, note, alert_id = rest
        return AlertRecord(
            rule,
            json_object(labels),
            severity,
            state,
            value,
            threshold,
            summary,
            description,
            self._tables.back(since),
            self._tables.back(seen),
            self._when(clear),
            self._when(fired),
            self._when(resolved),
            self._when(notified),
            self._when(escalated),
            tuple(json_list(told)),
            self._when(acked_at),
            acked_by,
            note,
            alert_id,
        )

    def _notice(self, row: Row) -> Notice:
        number, alert_id, channel, kind, content, created, due, tries, error, done, given_up = row
        back = self._tables.back
        return Notice(
            number, alert_id, channel, kind, json_object(content), back(created), back(due), tries, error,
            self._when(done), bool(given_up),
        )  # fmt: skip

    def _when(self, moment: Any) -> float | None:
        return None if moment is None else self._tables.back(moment)

    def _maybe(self, epoch_s: float | None) -> Any:
        return None if epoch_s is None else self._tables.at(epoch_s)


class Levels:
    """The LevelStore protocol."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def add(self, samples: Sequence[Sample]) -> None:
        """See LevelStore.add."""
        with self._tables.transaction():
            for one in samples:
                self._add(one.series, one.span_s, one.slot // one.span_s * one.span_s, one.good, one.total)

    def _add(self, series: str, span_s: int, slot: float, good: float, total: float) -> None:
        slot_at = self._tables.slot(slot)
        self._tables.run(_ADD_SAMPLE, series=series, span_s=span_s, slot=slot_at, good=good, total=total)

    def between(self, since: float, until: float) -> list[Sample]:
        """See LevelStore.between."""
        at, back = self._tables.slot, self._tables.slot_back
        rows = self._tables.rows(_SAMPLES, since=at(since), until=at(until))
        found = [Sample(series, back(slot), good, total, span_s) for series, slot, good, total, span_s in rows]
        return sorted(found, key=lambda one: (one.series, one.slot))

    def fold(self, now: float) -> int:
        """See LevelStore.fold."""
        # Whole hours only, so that what comes a little late finds its minutes.
        before = (now - _FOLD_AFTER_S) // _FOLDED_SPAN_S * _FOLDED_SPAN_S
        with self._tables.transaction():
            taken = self._tables.rows(_TAKE_OLD, before=self._tables.slot(before))
            sums: dict[tuple[str, float], tuple[float, float]] = {}
            for series, slot, good, total in taken:
                key = (series, self._tables.slot_back(slot) // _FOLDED_SPAN_S * _FOLDED_SPAN_S)
                mine = sums.get(key, (0.0, 0.0))
                sums[key] = (mine[0] + good, mine[1] + total)
            for (series, hour), (good, total) in sums.items():
                self._add(series, _FOLDED_SPAN_S, hour, good, total)
        return len(taken) - len(sums)

    def prune(self, before: float) -> int:
        """See LevelStore.prune."""
        return self._tables.run(_PRUNE_SAMPLES, before=self._tables.slot(before))


def _dumped(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, ensure_ascii=False)
