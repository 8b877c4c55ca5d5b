"""What each rule measures, from the figures. Pure: one function a rule, each a few lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prismq.domain.words import duration, first_line, listed, plural
from prismq.observability.alerts.figures import Figures
from prismq.observability.alerts.rules import Rule
from prismq.observability.condition import LATE, LIVE, NOT_CONSUMING, SILENT, told
from prismq.observability.exposition.definitions import BY_NAME as METRICS
from prismq.observability.exposition.samples import Histogram
from prismq.observability.slo.report import FAST, SLOW, title_of
from prismq.storage.contract import HeldTask, Outcomes

_FAILED = ("failed", "dead_letter")
_WAITING = ("queued",)
_INFINITE = 1e9  # JSON, and one of the engines, have no number for "never"


class Measure(NamedTuple):
    """A figure of one instance. `threshold`: where it is not the rule's own."""

    labels: Mapping[str, str]
    value: float
    detail: str = ""
    threshold: float | None = None


Measuring = Callable[[Figures, Rule], Iterable[Measure]]


def measure(rule: Rule, figures: Figures) -> list[Measure]:
    """What the rule measures now, by instance. What is not there has no instance: then it is fine."""
    return list(_own(figures, rule) if rule.metric is not None else MEASURES[rule.name](figures, rule))


# -- queues


def _oldest(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.queues:
        if one.oldest_ready_s is not None and one.paused_at is None:
            yield Measure({"queue": one.queue}, one.oldest_ready_s, threshold=figures.targets.get(one.queue))


def _drain(figures: Figures, rule: Rule) -> Iterator[Measure]:
    window_s = rule.params["window_s"]
    done, came = Counter[str](), Counter[str]()
    for one in figures.windows.get(window_s, ()):
        if one.outcome in ("completed", *_FAILED):
            done[one.queue] += one.tasks
        elif one.outcome == "enqueued":
            came[one.queue] += one.tasks
    for queue in figures.queues:
        ready = queue.depth.get("queued", 0)
        # Where nothing is done at all the pace says nothing, and other alerts say why.
        if ready >= rule.params["min_tasks"] and done[queue.queue] and queue.paused_at is None:
            name, per_s = queue.queue, done[queue.queue] / window_s
            detail = (
                f"{plural(ready, 'task')} ready; in the last {duration(window_s)} {came[name]:,} came and "
                f"{done[name]:,} ended."
            )
            target = figures.targets.get(name)
            yield Measure({"queue": name}, ready / per_s, detail, None if target is None else max(target, 1.0))


def _unserved(figures: Figures, rule: Rule) -> Iterator[Measure]:
    tasks: Counter[str] = Counter()
    why: defaultdict[str, list[str]] = defaultdict(list)
    for one in figures.unserved:
        tasks[one.queue] += one.tasks
        why[one.queue].append(one.why)
    for queue, count in tasks.items():
        words = listed(why[queue])
        yield Measure({"queue": queue}, count, f"{words[:1].upper()}{words[1:]}.")


def _depth(figures: Figures, rule: Rule) -> Iterator[Measure]:
    waiting = sum(tasks for (_, _, status, _), tasks in figures.depth.items() if status in _WAITING)
    yield Measure({}, waiting)


# -- tasks


class _Ends(NamedTuple):
    completed: int
    failed: int

    @property
    def total(self) -> int:
        return self.completed + self.failed

    @property
    def rate(self) -> float:
        return self.failed / self.total if self.total else 0.0


def _ends(outcomes: Iterable[Outcomes]) -> dict[tuple[str, str], _Ends]:
    found: dict[tuple[str, str], _Ends] = {}
    for one in outcomes:
        if one.outcome in ("completed", *_FAILED):
            before, failed = found.get((one.queue, one.type), _Ends(0, 0)), one.outcome in _FAILED
            found[one.queue, one.type] = _Ends(
                before.completed + (0 if failed else one.tasks), before.failed + (one.tasks if failed else 0)
            )
    return found


def _failure_rate(figures: Figures, rule: Rule) -> Iterator[Measure]:
    by_queue: defaultdict[str, list[tuple[str, _Ends]]] = defaultdict(list)
    for (queue, type_), ends in _ends(figures.windows.get(rule.params["window_s"], ())).items():
        by_queue[queue].append((type_, ends))
    for queue, types in by_queue.items():
        all_ = _Ends(sum(ends.completed for _, ends in types), sum(ends.failed for _, ends in types))
        if all_.total >= rule.params["min_ended"]:
            worst, its = max(types, key=lambda item: item[1].failed)
            detail = f"{all_.failed:,} of {all_.total:,}; most of the type {worst} ({its.failed:,})."
            yield Measure({"queue": queue}, all_.rate, detail)


def _baseline(figures: Figures, rule: Rule) -> Iterator[Measure]:
    day = _ends(figures.windows.get(rule.params["baseline_s"], ()))
    for (queue, type_), ends in _ends(figures.windows.get(rule.params["window_s"], ())).items():
        if ends.total < rule.params["min_ended"] or ends.rate < rule.params["min_rate"]:
            continue
        whole = day.get((queue, type_), ends)
        before = _Ends(max(0, whole.completed - ends.completed), max(0, whole.failed - ends.failed))
        if before.total >= rule.params["min_ended"]:  # a type without a past has nothing to be compared with
            usual = max(before.rate, rule.params["base_min"])
            detail = f"{ends.rate:.1%} now, {before.rate:.1%} over the day before."
            yield Measure({"queue": queue, "type": type_}, ends.rate / usual, detail)


def _counted(outcome: str) -> Measuring:
    def counts(figures: Figures, rule: Rule) -> Iterator[Measure]:
        tasks: Counter[tuple[str, str]] = Counter()
        for one in figures.windows.get(rule.params["window_s"], ()):
            if one.outcome == outcome:
                tasks[one.queue, one.type] += one.tasks
        for (queue, type_), count in tasks.items():
            yield Measure({"queue": queue, "type": type_}, count)

    return counts


def _poison(figures: Figures, rule: Rule) -> Iterator[Measure]:
    worst: dict[tuple[str, str], HeldTask] = {}
    for one in (*figures.held, *figures.crashed):
        before = worst.get((one.queue, one.type))
        if before is None or one.crashes > before.crashes:
            worst[one.queue, one.type] = one
    for (queue, type_), one in worst.items():
        yield Measure({"queue": queue, "type": type_}, one.crashes, f"It is task {one.task_id}.")


def _running_long(figures: Figures, rule: Rule) -> Iterator[Measure]:
    longest: dict[tuple[str, str], HeldTask] = {}
    for one in figures.held:
        if one.started_at is not None:
            before = longest.get((one.queue, one.type))
            if before is None or before.started_at is None or one.started_at < before.started_at:
                longest[one.queue, one.type] = one
    for (queue, type_), one in longest.items():
        usual = figures.usual.get((queue, type_))
        run_s = figures.at - (one.started_at or figures.at)
        if usual is None or usual.tasks < rule.params["min_completed"] or run_s < rule.params["min_run_s"]:
            continue
        detail = f"Task {one.task_id} has run for {duration(run_s)}; 99 of 100 take less than {duration(usual.p99_s)}."
        yield Measure({"queue": queue, "type": type_}, run_s / max(usual.p99_s, 1e-3), detail)


# -- workers


def _active(figures: Figures, rule: Rule) -> Iterator[Measure]:
    if figures.used:
        yield Measure({}, sum(one.live and one.worker.status == "active" for one in figures.crew))


def _sick(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.crew:
        if one.worker.status in LIVE and one.condition in (LATE, SILENT) and one.age_s < rule.params["forget_s"]:
            yield Measure({"worker_id": one.worker.worker_id}, one.age_s)


def _not_consuming(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.crew:
        if one.condition == NOT_CONSUMING:
            idle_s = min(one.idle_s or 0.0, _INFINITE)
            yield Measure({"worker_id": one.worker.worker_id}, idle_s, told(one) or "")


# -- schedules


def _missed(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.timetables:
        late_s = figures.at - one.due
        if not one.paused and late_s >= rule.params["min_late_s"]:
            times = (figures.at - one.last_slot) / max(one.due - one.last_slot, 1.0)
            yield Measure({"schedule": one.name}, times, f"It was due {duration(late_s)} ago.")


def _unsuccessful(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.timetables:
        if one.last_success is None or one.paused or one.last_success >= one.last_slot:
            continue
        since_s = figures.at - one.last_success
        interval_s = max(one.due - one.last_slot, 1.0)
        if since_s >= interval_s + rule.params["min_late_s"]:
            detail = f"The last success known is {duration(since_s)} old."
            yield Measure({"schedule": one.name}, since_s / interval_s, detail)


def _canary(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.canaries:
        if one.waiting_since is not None:
            detail = f"see `prismq why {one.task_id}`."
            yield Measure({"queue": one.queue}, figures.at - one.waiting_since, detail)


# -- service levels


def _burning(windows: tuple[float, float]) -> Measuring:
    long_s, short_s = windows

    def burning(figures: Figures, rule: Rule) -> Iterator[Measure]:
        for one in figures.burns:
            if one.totals[long_s] < rule.params["min_events"]:
                continue
            # Both windows have to burn: the long one so that it matters, the short one so that it still goes on.
            rate = min(one.rates[long_s], one.rates[short_s])
            detail = (
                f"Promised are {title_of(one.level)}; {one.rates[long_s] * one.level.budget:.2%} of "
                f"{one.totals[long_s]:,.0f} in the last {duration(long_s)} were not."
            )
            yield Measure({"slo": one.level.name, "queue": one.level.queue}, rate, detail)

    return burning


# -- the store


def _response(figures: Figures, rule: Rule) -> Iterator[Measure]:
    yield Measure({}, figures.response_s)


def _connections(figures: Figures, rule: Rule) -> Iterator[Measure]:
    if figures.connections_left is not None:
        yield Measure({}, figures.connections_left)


def _free(figures: Figures, rule: Rule) -> Iterator[Measure]:
    if figures.space is not None and figures.space.free is not None:
        yield Measure({}, figures.space.free)


def _wal(figures: Figures, rule: Rule) -> Iterator[Measure]:
    yield Measure({}, figures.wal_bytes)


def _faults(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for name, what in figures.faults.items():
        yield Measure({"fault": name}, 1, what)


def _redis(figures: Figures, rule: Rule) -> Iterator[Measure]:
    if figures.redis_up is not None:
        yield Measure({}, int(figures.redis_up), f"{figures.redis_error}." if figures.redis_error else "")


def _backup(figures: Figures, rule: Rule) -> Iterator[Measure]:
    backup = figures.backup
    if backup is not None:
        detail = f"One is due every {duration(backup.interval_s)}" + ("." if backup.exists else ", and there is none.")
        yield Measure({}, backup.age_s / backup.interval_s, detail)


def _broken_backup(figures: Figures, rule: Rule) -> Iterator[Measure]:
    if figures.broken_backup is not None:
        yield Measure({}, 1, figures.broken_backup)


def _channels(figures: Figures, rule: Rule) -> Iterator[Measure]:
    for one in figures.channels:
        if one.failing_since is not None:
            detail = f"{first_line(one.error or '')[:200].rstrip('.')}." if one.error else ""
            yield Measure({"channel": one.channel}, figures.at - one.failing_since, detail)


def _unreachable(figures: Figures, rule: Rule) -> Iterator[Measure]:
    return iter(())  # figures that could be read: it is not


def _own(figures: Figures, rule: Rule) -> Iterator[Measure]:
    metric = METRICS[rule.metric or ""]
    for values, value in (figures.samples or {}).get(metric.name, ()):
        labels = dict(zip(metric.labels, values, strict=True))
        if not isinstance(value, Histogram) and all(labels.get(name) == want for name, want in rule.series.items()):
            yield Measure(labels, float(value))


MEASURES: Mapping[str, Measuring] = {
    "OldestTaskOverTarget": _oldest,
    "BacklogGrowing": _drain,
    "QueueUnserved": _unserved,
    "HighQueueDepth": _depth,
    "HighFailureRate": _failure_rate,
    "FailureRateAboveBaseline": _baseline,
    "DeadLettersGrew": _counted("dead_letter"),
    "LeasesLost": _counted("lost"),
    "PoisonTask": _poison,
    "TaskRunningLong": _running_long,
    "NoActiveWorkers": _active,
    "WorkerUnhealthy": _sick,
    "WorkerNotConsuming": _not_consuming,
    "ScheduleMissed": _missed,
    "ScheduleFailing": _unsuccessful,
    "CanaryFailed": _canary,
    "ErrorBudgetBurnFast": _burning(FAST),
    "ErrorBudgetBurnSlow": _burning(SLOW),
    "DatabaseUnreachable": _unreachable,
    "DatabaseSlow": _response,
    "DatabaseConnectionPoolExhausted": _connections,
    "DiskAlmostFull": _free,
    "DiskFillingUp": _free,
    "WalTooLarge": _wal,
    "DatabaseFault": _faults,
    "RedisDown": _redis,
    "BackupTooOld": _backup,
    "BackupBroken": _broken_backup,
    "AlertChannelFailing": _channels,
}
