"""The one who watches: takes the duty, looks, judges, writes down what has changed, and has it said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from prismq.clock import Clock
from prismq.config.alerts import AlertsConfig, SloConfig
from prismq.domain import events as ev
from prismq.domain.errors import QueueDatabaseError
from prismq.observability.alerts.canary import Canaries
from prismq.observability.alerts.channels import channel_of
from prismq.observability.alerts.channels.base import Channel
from prismq.observability.alerts.delivery import Deliverer
from prismq.observability.alerts.evaluation import evaluate
from prismq.observability.alerts.figures import Figures
from prismq.observability.alerts.look import Looker, Surroundings
from prismq.observability.alerts.measures import measure
from prismq.observability.alerts.outage import Outage
from prismq.observability.alerts.routing import Manners, with_notices
from prismq.observability.alerts.rules import Rule, rules_of
from prismq.observability.condition import LIVE
from prismq.observability.slo.counting import SERIES
from prismq.observability.slo.levels import WORKERS
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import DUTY, FIRING, RESOLVED, AlertChange, Sample

MINUTE_S = 60.0
_TIDY_EVERY_S = 3600.0
_SAMPLES_KEPT_DAYS = 7  # longer than the window of the service levels


@dataclass(frozen=True)
class Watching:
    """What a watch is told at its start. `holder`: who it is, for people and unlike any other."""

    holder: str
    alerts: AlertsConfig
    slo: SloConfig
    around: Surroundings = field(default_factory=Surroundings)


class Watch:
    """`step()` does what is due and says in how many seconds to come again. Any number of processes may have one: the
    one that has the duty works, the others wait for it to be free. Those who know channels go before those who do not.

    Raises ConfigurationError for rules and channels that there are not.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: Random,
        emit: ev.Emit,
        watching: Watching,
        *,
        channels: Mapping[str, Channel] | None = None,
    ) -> None:
        config = watching.alerts
        self.rules: list[Rule] = rules_of(config)
        self._by_name = {rule.name: rule for rule in self.rules}
        self._store, self._clock, self._emit, self._config = store, clock, emit, config
        self._holder = watching.holder
        self._slo = watching.slo
        self._rank = 1 if config.channels else 0
        ways = {name: channel_of(name, one) for name, one in config.channels.items()} if channels is None else channels
        self.deliverer = Deliverer(
            store,
            clock,
            rng,
            ways,
            timeout_s=config.send_timeout_seconds,
            give_up_s=config.give_up_seconds,
            dashboard_url=config.dashboard_url,
        )
        self.looker = Looker(store, clock, self.rules, watching.slo, watching.around)
        self._canaries = Canaries(store, clock, config.canary_queues, config.canary_interval_seconds)
        self._outage = Outage(store, clock, self._by_name["DatabaseUnreachable"], config, ways, watching.holder)
        self._manners = Manners(config.group_wait_seconds, config.repeat_seconds, config.escalate_after_seconds)
        self._sampled: float | None = None
        self._tidy_at = clock.monotonic()
        self.on_duty = False

    def step(self) -> float:
        """Look once, where it is this one's duty. Never raises for a store that is away: that is an alert."""
        try:
            self._step()
            self._outage.over(self.on_duty)
        except QueueDatabaseError as error:
            self._outage.goes_on(error, was_on_duty=self.on_duty)
        return self._config.interval_seconds

    def _step(self) -> None:
        now, before = self._clock.now(), self.on_duty
        # Long enough that one look that takes its time does not lose it.
        for_s = max(10.0, 3 * self._config.interval_seconds)
        began = self._clock.monotonic()
        self.on_duty = self._store.duties.take(DUTY, self._holder, for_s, now, rank=self._rank)
        write_s = self._clock.monotonic() - began
        if not self.on_duty:
            return
        if not before:
            self._store.alerts.forget_channels(list(self._config.channels))
        self._canaries.step()
        figures = self.looker.look(write_s)
        self._sample(figures)
        changes = self.changes(figures)
        if changes and not self._store.alerts.record(changes, self._holder, self._clock.now()):
            self.on_duty = False
            return
        self._report(changes)
        self.deliverer.step()
        self._tidy(now)

    def changes(self, figures: Figures) -> list[AlertChange]:
        """What becomes of every alert by these figures, and what has to be said."""
        now = figures.at
        measured = {rule.name: measure(rule, figures) for rule in self.rules if rule.enabled}
        silences = self._store.alerts.silences(now)
        changes = evaluate(self.rules, measured, self._store.alerts.open(), now)
        records = [change.record for change in changes if not change.gone]
        return [
            with_notices(
                change, self._by_name.get(change.record.rule), self._config.channels, silences, self._manners, now,
                around=records,
            )
            for change in changes
        ]  # fmt: skip

    def _sample(self, figures: Figures) -> None:
        """Once a minute, how many workers are well: a worker's minute each."""
        minute = figures.at // MINUTE_S * MINUTE_S
        if self._sampled is not None and minute <= self._sampled:
            return
        known = [one for one in figures.crew if one.worker.status in LIVE]
        if known:
            self._sampled = minute
            good = sum(one.condition == one.worker.status for one in known)
            self._store.levels.add([Sample(SERIES[WORKERS], minute, good, len(known))])

    def _report(self, changes: Sequence[AlertChange]) -> None:
        for change in changes:
            record = change.record
            if record.state == FIRING and record.fired_at == record.seen:
                self._emit(ev.AlertFired(record.rule, record.severity, record.summary, dict(record.labels)))
            elif record.state == RESOLVED:
                lasted_s = record.seen - (record.fired_at or record.since)
                self._emit(ev.AlertResolved(record.rule, record.severity, record.summary, lasted_s))

    def _tidy(self, now: float) -> None:
        mono = self._clock.monotonic()
        if mono < self._tidy_at:
            return
        self._tidy_at = mono + _TIDY_EVERY_S
        self._store.alerts.prune(now - self._config.retention_seconds)
        self._store.levels.fold(now)
        self._store.levels.prune(now - (self._slo.window_days + _SAMPLES_KEPT_DAYS) * 86_400.0)

    def close(self, timeout_s: float = 5.0) -> None:
        """Let messages that are on their way arrive, and leave the duty to the next."""
        self.deliverer.wait(timeout_s)
        if self.on_duty:
            with suppress(QueueDatabaseError):
                self._store.duties.give_back(DUTY, self._holder)
