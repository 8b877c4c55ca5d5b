"""Reads the figures for the rules. Each look costs some reads of the books; what is dear is looked at less often."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from prismq.clock import Clock
from prismq.config.alerts import SloConfig
from prismq.domain.cron import CronSchedule
from prismq.domain.errors import InvalidCron, PrismqError, QueueBackupError
from prismq.domain.finding import Severity
from prismq.domain.sketch import Sketch
from prismq.domain.times import to_epoch
from prismq.domain.words import first_line
from prismq.observability.alerts.figures import BackupFigures, Figures, Pair, Timetable, Usual
from prismq.observability.alerts.rules import Rule
from prismq.observability.condition import HEARTBEAT_S, crew_of, unserved
from prismq.observability.exposition.collector import RedisReader, collect
from prismq.observability.exposition.in_hand import CRASHED_AMONG, HELD_MAX
from prismq.observability.exposition.samples import Samples
from prismq.observability.facts import RedisProbe
from prismq.observability.slo.levels import levels_of, targets
from prismq.observability.slo.report import Burn, burns
from prismq.storage.backups import BackupFolder
from prismq.storage.contract import HeldTask, Outcomes, Schedule, Store

_BURNS_EVERY_S = 30.0
_DAY_EVERY_S = 60.0
_USUAL_EVERY_S = 300.0
_SLOW_EVERY_S = 600.0
_SCHEDULES_MAX = 500
# What the doctor finds by itself quickly, and no other rule tells of.
_FAULTS = ("dead-rows", "snapshots", "server", "pooler", "bloat")

T = TypeVar("T")


class Surroundings(NamedTuple):
    """What this process knows of the system beside its database. Times in seconds."""

    heartbeat_s: float = HEARTBEAT_S
    backup_interval_s: float | None = None
    backup_dir: str | None = None
    redis_probe: RedisProbe | None = None
    redis_reader: RedisReader | None = None


class Looker:
    """`look()` reads everything once. What it remembers only spares reading it again."""

    def __init__(self, store: Store, clock: Clock, rules: Sequence[Rule], slo: SloConfig, around: Surroundings) -> None:
        self._store, self._clock, self._slo, self._around = store, clock, slo, around
        self._rules = {rule.name: rule for rule in rules if rule.enabled}
        self._used = False
        self._own = any(rule.metric is not None for rule in self._rules.values())
        self._kept: dict[str, tuple[float, object]] = {}
        self._began = clock.now()
        self._succeeded: dict[str, float] = {}
        self._slow = SlowLook(store, clock, around)

    def look(self, write_s: float = 0.0) -> Figures:
        """The figures of now. `write_s`: how long a small write took just now, which a lock holds up where it does not
        hold up a read. Raises QueueDatabaseError where the store cannot be read."""
        store, now, began = self._store, self._clock.now(), self._clock.monotonic()
        store.work.next_due()  # one look into an index
        response_s = self._clock.monotonic() - began
        standing = store.standing(now)
        depth, queues = standing.depth, standing.queues
        if not self._used:  # which stays so
            self._used = bool(depth) or any(one.outcome == "enqueued" for one in store.insight.totals(now))
        crew = crew_of(standing, self._around.heartbeat_s)
        held = store.insight.held_tasks(HELD_MAX)
        most, active = store.insight.connections_max(), store.insight.connections().active
        redis_up, redis_error = self._redis()
        self._slow.step(now)
        return Figures(
            now,
            depth=depth,
            used=self._used,
            queues=queues,
            crew=crew,
            unserved=unserved(standing.routes, depth, queues, crew),
            windows=self._windows(now),
            held=held,
            crashed=self._crashed(now),
            usual=self._usual(held, now),
            timetables=self._timetables(now),
            response_s=max(write_s, response_s),
            connections_left=None if most is None else most - active,
            space=store.insight.space(),
            wal_bytes=store.keeping.stats().wal_bytes,
            redis_up=redis_up,
            redis_error=redis_error,
            backup=self._backup(now),
            broken_backup=self._slow.broken,
            faults=self._slow.faults,
            channels=store.alerts.channels(),
            canaries=store.alerts.canaries(),
            burns=self._burns([one.queue for one in queues], now),
            targets=targets(self._slo, [one.queue for one in queues]),
            samples=self._samples(),
        )

    def _every(self, what: str, seconds: float, ask: Callable[[], T]) -> T:
        kept = self._kept.get(what)
        if kept is None or not 0 <= self._clock.now() - kept[0] < seconds:
            kept = self._kept[what] = (self._clock.now(), ask())
        return kept[1]  # type: ignore[return-value]  # what was asked under the same name

    def _windows(self, now: float) -> dict[float, list[Outcomes]]:
        asked = {
            seconds
            for rule in self._rules.values()
            for name, seconds in rule.params.items()
            if name in ("window_s", "baseline_s")
        }

        def ask(seconds: float) -> Callable[[], list[Outcomes]]:
            return lambda: self._store.insight.outcomes(now - seconds, now, bins=False)

        return {
            seconds: self._every(f"window {seconds}", _DAY_EVERY_S, ask(seconds)) if seconds > 3600 else ask(seconds)()
            for seconds in asked
        }

    def _crashed(self, now: float) -> list[HeldTask]:
        rule = self._rules.get("PoisonTask")
        if rule is None:
            return []
        return self._store.insight.crashed_lately(now - rule.params["window_s"], CRASHED_AMONG)

    def _usual(self, held: Sequence[HeldTask], now: float) -> Mapping[Pair, Usual]:
        rule = self._rules.get("TaskRunningLong")
        if rule is None or not any(now - (one.started_at or now) >= rule.params["min_run_s"] for one in held):
            return {}
        history_s = rule.params["history_s"]

        def ask() -> dict[Pair, Usual]:
            sketches: defaultdict[Pair, Sketch] = defaultdict(Sketch)
            for one in self._store.insight.outcomes(now - history_s, now, only=("completed",), waits=False):
                sketches[one.queue, one.type].merge(Sketch.from_json(one.run_bins))
            p99s = {pair: (sketch.count, sketch.quantile(0.99)) for pair, sketch in sketches.items()}
            return {pair: Usual(count, p99_s) for pair, (count, p99_s) in p99s.items() if p99_s is not None}

        return self._every("usual", _USUAL_EVERY_S, ask)

    def _burns(self, queues: Sequence[str], now: float) -> list[Burn]:
        if not self._rules.keys() & {"ErrorBudgetBurnFast", "ErrorBudgetBurnSlow"}:
            return []
        return self._every("burns", _BURNS_EVERY_S, lambda: burns(self._store, levels_of(self._slo, queues), now))

    def _timetables(self, now: float) -> list[Timetable]:
        found = []
        for schedule in self._store.schedules.all()[:_SCHEDULES_MAX]:
            last = schedule.last_slot
            if last is None:
                continue
            try:
                due = CronSchedule.parse(schedule.expression, schedule.timezone).next_after(last)
            except (InvalidCron, ValueError):  # written by hand; `prismq schedules list` shows it
                continue
            success = self._last_success(schedule, last)
            found.append(Timetable(schedule.name, last, due, success, schedule.paused_at is not None))
        return found

    def _last_success(self, schedule: Schedule, last_slot: float) -> float | None:
        if schedule.last_task_id is None:
            return None
        known = self._succeeded.get(schedule.name)
        if known is None or known < last_slot:
            task = self._store.tasks.get(schedule.last_task_id)
            if task is None or task.status == "completed":  # one that is gone was pruned, and completed ones go first
                known = self._succeeded[schedule.name] = last_slot
        # Nobody knows what was before this process began to look: it counts from then on.
        return self._succeeded.setdefault(schedule.name, self._began) if known is None else known

    def _redis(self) -> tuple[bool | None, str]:
        if self._around.redis_probe is None:
            return None, ""
        try:
            self._around.redis_probe()
        except Exception as error:  # noqa: BLE001 - whatever the driver raises, the answer is that it is not up
            return False, first_line(str(error)).rstrip(".") or type(error).__name__
        return True, ""

    def _backup(self, now: float) -> BackupFigures | None:
        interval_s = self._around.backup_interval_s
        if interval_s is None:
            return None
        newest = next(iter(BackupFolder(self._store.keeping, self._clock, self._around.backup_dir).list()), None)
        began = self._began if newest is None else to_epoch(newest.created_at)
        return BackupFigures(interval_s, max(0.0, now - began), newest is not None)

    def _samples(self) -> Samples | None:
        if not self._own:
            return None
        around = self._around
        return collect(
            self._store,
            self._clock,
            redis=around.redis_reader,
            heartbeat_s=around.heartbeat_s,
            promises=self._slo.promises,
        ).samples


class SlowLook:
    """What may take long is looked at in a thread of its own, and seldom: whether the newest backup can be restored,
    and what the doctor finds of the database."""

    def __init__(self, store: Store, clock: Clock, around: Surroundings) -> None:
        self._store, self._clock, self._around = store, clock, around
        self._at: float | None = None
        self._verified: Path | None = None
        self._thread: threading.Thread | None = None
        self.broken: str | None = None
        self.faults: dict[str, str] = {}

    def step(self, now: float) -> None:
        """Begin to look where it is time."""
        due = self._at is None or not 0 <= now - self._at < _SLOW_EVERY_S
        if due and (self._thread is None or not self._thread.is_alive()):
            self._at = now
            self._thread = threading.Thread(target=self._look, name="prismq-alerts-slow", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until what was begun is over."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _look(self) -> None:
        try:
            self._examine()
            self._verify()
        except (PrismqError, OSError):  # the database is away, which another rule tells of
            return

    def _examine(self) -> None:
        found = {}
        for check in self._store.keeping.checks():
            if check.name in _FAULTS:
                for finding in check.run(self._clock.now()):
                    if finding.severity is not Severity.NOTE:
                        found[check.name] = finding.what
        self.faults = found

    def _verify(self) -> None:
        folder = BackupFolder(self._store.keeping, self._clock, self._around.backup_dir)
        newest = next(iter(folder.list()), None)
        if newest is None:
            self.broken = self._verified = None
            return
        if newest.path == self._verified and self.broken is None:
            return
        try:
            self._store.keeping.verify(newest.path, thorough=False)
            self.broken = None
        except QueueBackupError as error:
            self.broken = str(error)
        self._verified = newest.path
