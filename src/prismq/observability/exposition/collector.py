"""Collects every metric from the store. What it costs depends on how many queues, types and workers there are, and
not on how many tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prismq.clock import Clock
from prismq.domain.limits import METRIC_PAIRS_MAX, METRIC_QUEUES_MAX, METRIC_WORKERS_MAX
from prismq.domain.promise import NONE_GIVEN, Promises, own_promise
from prismq.domain.sketch import Sketch
from prismq.domain.status import TaskStatus
from prismq.domain.times import to_epoch
from prismq.observability.condition import HEARTBEAT_S, LIVE, NOT_CONSUMING, SILENT, WorkerView, crew_of, unserved
from prismq.observability.exposition.database import Slots, database_samples
from prismq.observability.exposition.in_hand import in_hand_samples
from prismq.observability.exposition.samples import Histogram, Labels, Samples, histogram_of
from prismq.observability.exposition.steering import steering_samples
from prismq.observability.exposition.system import system_samples
from prismq.observability.exposition.upkeep import backup_samples, schedule_samples
from prismq.observability.exposition.watching import alert_samples, canary_samples
from prismq.storage.contract import Outcomes, Standing, Store
from prismq.version import __version__
from prismq.worker.built_in import CANARY

OTHER = "other"

_FINISHED = ("completed", "failed", "dead_letter", "cancelled")
_BANDS = ("high", "normal", "low")
_STATUSES = tuple(status.value for status in TaskStatus)
_WORKER_STATUSES = (*LIVE, SILENT, "stopped", "lost")
_COUNTED = {
    "prismq_tasks_enqueued_total": "enqueued",
    "prismq_task_retries_total": "retried",
    "prismq_task_timeouts_total": "timed_out",
    "prismq_task_leases_lost_total": "lost",
    "prismq_task_snoozes_total": "snoozed",
    "prismq_task_releases_total": "released",
}

Depth = Mapping[tuple[str, str, str, str], int]


class RedisMetrics(NamedTuple):
    """What Redis says of itself."""

    response_s: float
    connected_clients: int
    memory_bytes: int
    commands: int  # since it was started
    keys: Mapping[str, int]  # by type


RedisReader = Callable[[], RedisMetrics]  # raises where Redis does not answer


class Snapshot(NamedTuple):
    """Every figure at one time, by the name of its metric."""

    at: float  # seconds since 1970
    samples: Samples


class _Sums:
    """All that happened to a pair of queue and type."""

    __slots__ = ("attempts", "run", "run_us", "tasks", "tasks_retried", "wait", "wait_us")

    def __init__(self) -> None:
        self.tasks: Counter[str] = Counter()
        self.attempts = self.tasks_retried = self.run_us = self.wait_us = 0
        self.run: list[str] = []
        self.wait: list[str] = []

    def add(self, one: Outcomes) -> None:
        self.tasks[one.outcome] += one.tasks
        if one.outcome in _FINISHED:
            self.attempts += one.attempts
            self.tasks_retried += one.retried
        if one.wait_bins:
            self.wait.append(one.wait_bins)
            self.wait_us += round(one.wait_s * 1e6)
        if one.run_bins and one.outcome == "completed":
            self.run.append(one.run_bins)
            self.run_us += round(one.run_s * 1e6)


class _Names:
    """At most so many label values; the rest is `other`. Given in a lasting order, those within stay within: then
    nothing ever leaves `other`, and its counters never fall."""

    def __init__(self, in_order: Iterable[Labels], at_most: int) -> None:
        found = list(dict.fromkeys(in_order))
        self.kept = found[:at_most]
        self.left_out = len(found) - len(self.kept)
        self._kept = frozenset(self.kept)

    def of(self, *values: str) -> Labels:
        return values if values in self._kept else (OTHER,) * len(values)


def collect(
    store: Store,
    clock: Clock,
    *,
    redis: RedisReader | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    backup_dir: str | None = None,
    slots: Slots | None = None,
    more: Iterable[Callable[[], Samples]] = (),
    promises: Promises = NONE_GIVEN,
) -> Snapshot:
    """Read everything once. `heartbeat_s`: how often workers report, in seconds, to judge who is silent. `backup_dir`:
    see BackupFolder. `slots`: see database_samples. `more`: what only the process that answers knows.
    `promises`: what the settings say of single queues.

    Raises QueueDatabaseError where the store cannot be read. Redis that does not answer is a figure, not an error.
    """
    began, now = clock.monotonic(), clock.now()
    samples: Samples = {}
    due = store.work.next_due()  # one look into an index
    response_s = clock.monotonic() - began

    totals, standing = store.insight.totals(now), store.standing(now)
    depth, queues, crew = standing.depth, standing.queues, crew_of(standing, heartbeat_s)

    known = [*((one.queue, one.type) for one in totals), *sorted({key[:2] for key in depth})]
    pairs = _Names(known, METRIC_PAIRS_MAX)
    names = _Names([*((queue,) for queue, _ in known), *((one.queue,) for one in queues)], METRIC_QUEUES_MAX)

    groups = _sums(totals, pairs)
    samples.update(_tasks(groups))
    samples.update(_depths(depth, pairs, names))
    samples.update(_queues(standing, crew, names, promises))
    samples.update(_in_time(groups, samples["prismq_queue_promise_seconds"]))
    samples.update(in_hand_samples(store, now, depth, totals, pairs.kept, pairs.of))
    samples["prismq_scheduled_overdue_seconds"] = [((), 0.0 if due is None else max(0.0, now - due))]
    workers, left_out = _workers(crew)
    samples.update(workers)
    schedules, schedules_left_out = schedule_samples(store, now)
    samples.update(schedules)
    samples.update(backup_samples(store, clock, backup_dir))
    samples.update(steering_samples(store, now, promises, queues))
    samples.update(alert_samples(store, now))
    if any(type_ == CANARY for _, type_ in known):
        samples.update(canary_samples(store, now, names.of))
    for read in more:
        samples.update(read())
    samples.update(database_samples(store, response_s, slots))
    samples.update(system_samples(None if store.work.is_remote else store.insight.space()))
    samples.update(_redis(redis))
    samples["prismq_build_info"] = [((__version__,), 1)]
    samples["prismq_metrics_left_out"] = [
        (("type",), pairs.left_out),
        (("queue",), names.left_out),
        (("worker_id",), left_out),
        (("schedule",), schedules_left_out),
    ]
    samples["prismq_metrics_collect_seconds"] = [((), clock.monotonic() - began)]
    return Snapshot(now, samples)


def _sums(totals: Iterable[Outcomes], pairs: _Names) -> Mapping[Labels, _Sums]:
    groups: defaultdict[Labels, _Sums] = defaultdict(_Sums)
    for pair in pairs.kept:
        groups[pair] = _Sums()
    for one in totals:
        groups[pairs.of(one.queue, one.type)].add(one)
    return groups


def _tasks(groups: Mapping[Labels, _Sums]) -> Samples:
    samples: Samples = {
        name: [(pair, sums.tasks[outcome]) for pair, sums in groups.items()] for name, outcome in _COUNTED.items()
    }
    samples["prismq_tasks_finished_total"] = [
        ((*pair, outcome), sums.tasks[outcome]) for pair, sums in groups.items() for outcome in _FINISHED
    ]
    samples["prismq_finished_task_attempts_total"] = [(pair, sums.attempts) for pair, sums in groups.items()]
    samples["prismq_finished_task_retried_total"] = [(pair, sums.tasks_retried) for pair, sums in groups.items()]
    samples["prismq_task_run_seconds"] = [
        (pair, histogram_of(sums.run, sums.run_us / 1e6)) for pair, sums in groups.items()
    ]
    samples["prismq_task_wait_seconds"] = [
        (pair, histogram_of(sums.wait, sums.wait_us / 1e6)) for pair, sums in groups.items()
    ]
    return samples


def _in_time(groups: Mapping[Labels, _Sums], promised: Iterable[tuple[Labels, float | Histogram]]) -> Samples:
    # By the bins, as the service levels count: a promise need not be one of the histogram's boundaries.
    found: list[tuple[Labels, float | Histogram]] = []
    for name, seconds in promised:
        if not isinstance(seconds, Histogram):
            wait = Sketch.merged(text for pair, sums in groups.items() if pair[:1] == name for text in sums.wait)
            found.append((name, wait.count_within(seconds)))
    return {"prismq_queue_starts_in_time_total": found}


def _depths(depth: Depth, pairs: _Names, names: _Names) -> Samples:
    # What there is none of is 0 and not absent, so that a rule sees a queue run empty.
    by_queue = {(*name, status, band): 0 for name in names.kept for status in _STATUSES for band in _BANDS}
    by_type = {(*pair, status): 0 for pair in pairs.kept for status in _STATUSES}
    for (queue, type_, status, band), tasks in depth.items():
        for counts, key in (
            (by_queue, (*names.of(queue), status, band)),
            (by_type, (*pairs.of(queue, type_), status)),
        ):
            counts[key] = counts.get(key, 0) + tasks
    return {"prismq_queue_tasks": list(by_queue.items()), "prismq_type_tasks": list(by_type.items())}


def _queues(standing: Standing, crew: list[WorkerView], names: _Names, promises: Promises) -> Samples:
    oldest, unserved_tasks = dict.fromkeys(names.kept, 0.0), dict.fromkeys(names.kept, 0)
    paused, limits = dict.fromkeys(names.kept, 0), {}
    for one in standing.queues:
        name = names.of(one.queue)
        oldest[name] = max(oldest.get(name, 0.0), one.oldest_ready_s or 0.0)
        paused[name] = max(paused.get(name, 0), one.paused_at is not None)
        if one.max_running is not None and name == (one.queue,):
            limits[name] = one.max_running
    for alone in unserved(standing.routes, standing.depth, standing.queues, crew):
        name = names.of(alone.queue)
        unserved_tasks[name] = unserved_tasks.get(name, 0) + alone.tasks
    promised: list[tuple[Labels, float | Histogram]] = [
        (name, promise.target_s) for name in names.kept if (promise := own_promise(name[0], promises)) is not None
    ]
    return {
        "prismq_queue_oldest_ready_seconds": list(oldest.items()),
        "prismq_queue_promise_seconds": promised,
        "prismq_queue_unserved_tasks": list(unserved_tasks.items()),
        "prismq_queue_paused": list(paused.items()),
        "prismq_queue_running_limit": list(limits.items()),
    }


def _workers(crew: list[WorkerView]) -> tuple[Samples, int]:
    statuses = Counter(SILENT if one.condition == SILENT else one.worker.status for one in crew)
    strange = sum(statuses.values()) - sum(statuses[status] for status in _WORKER_STATUSES)
    samples: Samples = {
        "prismq_workers": [((status,), statuses[status]) for status in _WORKER_STATUSES],
        "prismq_workers_not_consuming": [((), sum(one.condition == NOT_CONSUMING for one in crew))],
    }
    if strange:  # a status that somebody made up
        samples["prismq_workers"].append(((OTHER,), strange))
    found = sorted((one for one in crew if one.worker.status in LIVE), key=lambda one: one.age_s)
    for view in found[:METRIC_WORKERS_MAX]:
        worker, me = view.worker, (view.worker.worker_id,)
        values: list[tuple[str, Labels, float | None]] = [
            ("prismq_worker_info", (*me, worker.hostname or "", worker.version or ""), 1),
            ("prismq_worker_up", me, int(view.live)),
            ("prismq_worker_status", (*me, SILENT if view.condition == SILENT else worker.status), 1),
            ("prismq_worker_healthy", me, int(view.condition == worker.status)),
            ("prismq_worker_not_consuming_seconds", me, view.idle_s or 0.0),
            ("prismq_worker_slots", me, worker.slots),
            ("prismq_worker_busy_slots", me, worker.busy),
            ("prismq_worker_held_tasks", me, worker.held),
            ("prismq_worker_tasks_finished_total", (*me, "completed"), worker.completed),
            ("prismq_worker_tasks_finished_total", (*me, "failed"), worker.failed),
            ("prismq_worker_task_retries_total", me, worker.retried),
            ("prismq_worker_run_seconds_total", me, worker.run_s),
            ("prismq_worker_restarts", me, worker.restarts),
            ("prismq_worker_cpu_usage_ratio", me, None if worker.cpu_percent is None else worker.cpu_percent / 100),
            ("prismq_worker_memory_bytes", me, worker.memory_bytes),
        ]
        values += [
            (f"prismq_worker_{what}_timestamp_seconds", me, None if when is None else to_epoch(when))
            for what, when in (
                ("start", worker.started_at_utc),
                ("heartbeat", worker.heartbeat_utc),
                ("claim", worker.last_claim_utc),
            )
        ]
        for name, labels, value in values:
            if value is not None:
                samples.setdefault(name, []).append((labels, value))
    return samples, max(0, len(found) - METRIC_WORKERS_MAX)


def _redis(read: RedisReader | None) -> Samples:
    if read is None:
        return {}
    try:
        found = read()
    except Exception:  # noqa: BLE001 - whatever the driver raises, the answer is that it is not up
        return {"prismq_redis_up": [((), 0)]}
    return {
        "prismq_redis_up": [((), 1)],
        "prismq_redis_response_seconds": [((), found.response_s)],
        "prismq_redis_connected_clients": [((), found.connected_clients)],
        "prismq_redis_memory_bytes": [((), found.memory_bytes)],
        "prismq_redis_commands_total": [((), found.commands)],
        "prismq_redis_keys": [((kind,), count) for kind, count in sorted(found.keys.items())],
    }
