"""When the database itself is away: nothing can be read or written, so what is known is in memory, and told at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from prismq.clock import Clock
from prismq.config.alerts import AlertsConfig
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.words import duration, first_line
from prismq.observability.alerts.channels.base import Channel, NotDelivered
from prismq.observability.alerts.message import Message
from prismq.observability.alerts.routing import content_of
from prismq.observability.alerts.rules import Rule
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import FIRING, RESOLVED, AlertChange, AlertRecord, NewNotice

# Whoever had the duty tells first. Nobody can know who that was, so the others wait, and tell as well.
OTHERS_WAIT_S = 240.0
_TRIES = 3


class Outage:
    """How long the store has been away, and who was told. Each process has its own."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rule: Rule,
        config: AlertsConfig,
        channels: Mapping[str, Channel],
        holder: str,
    ) -> None:
        self._store, self._clock, self._rule, self._config = store, clock, rule, config
        self._channels, self._holder = channels, holder
        self._since: float | None = None
        self._since_mono = 0.0
        self._mine = False
        self._record: AlertRecord | None = None

    def goes_on(self, error: QueueDatabaseError, *, was_on_duty: bool) -> None:
        """The store was asked and could not answer. Tells every channel that takes pages, once."""
        now, mono = self._clock.now(), self._clock.monotonic()
        if self._since is None:
            self._since, self._since_mono, self._mine = now, mono, was_on_duty
        away_s = mono - self._since_mono
        wait_s = self._rule.for_s + (0.0 if self._mine else OTHERS_WAIT_S)
        if self._record is not None or not self._rule.enabled or away_s < wait_s:
            return
        why = first_line(str(error)).rstrip(".")[:300]
        self._record = AlertRecord(
            self._rule.name,
            {},
            self._rule.severity.value,
            FIRING,
            away_s,
            self._rule.threshold,
            self._rule.summary.replace("{value}", duration(away_s)),
            self._rule.description.replace("{detail}", f"{why}."),
            self._since,
            now,
            fired_at=now,
            notified_at=now,
        )
        told = [
            name
            for name, one in self._config.channels.items()
            if name in self._channels and self._record.severity in one.severities
        ]
        self._record = replace(self._record, told=tuple(told))
        self._tell_all(self._record, "firing")

    def _tell_all(self, record: AlertRecord, kind: str) -> None:
        for name in record.told:
            message = Message(
                kind, self._store.name, [content_of(record, self._rule)], (0,), self._config.dashboard_url
            )
            # A thread each: one that hangs must not keep the others from being told.
            threading.Thread(
                target=self._tell, args=(self._channels[name], message), name=f"prismq-alert-{name}", daemon=True
            ).start()

    def _tell(self, channel: Channel, message: Message) -> None:
        for number in range(_TRIES):
            try:
                channel.send(message, self._config.send_timeout_seconds, self._clock.now())
                return
            except NotDelivered:
                self._clock.wait(threading.Event(), 5.0 * (number + 1))
            except Exception:  # noqa: BLE001 - whatever a channel does, there is nobody left to tell
                return

    def over(self, on_duty: bool) -> None:
        """The store answers. Whoever has the duty writes it into the history, and has it told to be over; whoever has
        not, and told of it, tells that by itself."""
        self._since = None
        record = self._record
        if record is None:
            return
        now = self._clock.now()
        told = tuple(name for name in record.told if self._config.channels[name].resolved)
        ended = replace(record, state=RESOLVED, resolved_at=now, seen=now, value=now - record.since, told=told)
        if not on_duty:
            self._record = None
            self._tell_all(ended, "resolved")
            return
        notices = [NewNotice(name, "resolved", content_of(ended, self._rule), now) for name in told]
        if self._store.alerts.record([AlertChange(ended, notices)], self._holder, now):
            self._record = None
