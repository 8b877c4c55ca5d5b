"""The workers: health, load, and what each runs now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.domain.task import Task, TaskFilter
from prismq.domain.times import to_epoch
from prismq.domain.worker import Worker
from prismq.observability.condition import NOT_CONSUMING, SILENT, WorkerView, crew_of, told
from prismq.server.views.drawing import Spark

_RUNNING_READ_MAX = 1_000
_RUNNING_SHOWN = 8
_SLOTS_DRAWN_MAX = 64
_ENDED_SHOWN = 30
_SAMPLES_MAX = 180  # half an hour of heartbeats
_WORKERS_REMEMBERED_MAX = 500


class Gauges:
    """CPU and memory of workers over time, as far as this server has seen their heartbeats: rows keep the last only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, deque[tuple[float, float | None, int | None]]] = {}

    def note(self, workers: Iterable[Worker]) -> None:
        """Remember what each said with a heartbeat that is new."""
        with self._lock:
            for one in workers:
                if one.heartbeat_utc is None or one.status in ("stopped", "lost"):
                    self._seen.pop(one.worker_id, None)
                    continue
                if one.worker_id not in self._seen and len(self._seen) >= _WORKERS_REMEMBERED_MAX:
                    continue
                at = to_epoch(one.heartbeat_utc)
                samples = self._seen.setdefault(one.worker_id, deque(maxlen=_SAMPLES_MAX))
                if not samples or at > samples[-1][0]:
                    samples.append((at, one.cpu_percent, one.memory_bytes))

    def sparks(self, worker_id: str) -> tuple[Spark, Spark] | None:
        """CPU and memory as lines; None before there are two samples."""
        with self._lock:
            samples = list(self._seen.get(worker_id, ()))
        if len(samples) < 2:
            return None
        cpu = [cpu for _, cpu, _ in samples]
        memory = [None if size is None else float(size) for _, _, size in samples]
        return Spark(cpu, "run", "CPU since this server looks"), Spark(
            memory, "accent", "memory since this server looks"
        )


@dataclass(frozen=True)
class WorkerCard:
    """A worker as the page shows it."""

    view: WorkerView
    running: Sequence[Task]
    more_running: int
    slots: Sequence[bool]  # busy or not; at most _SLOTS_DRAWN_MAX
    sentence: str | None
    uptime_s: float | None
    sparks: tuple[Spark, Spark] | None

    @property
    def worker(self) -> Worker:
        """Its row."""
        return self.view.worker

    @property
    def is_alarming(self) -> bool:
        """Whether somebody should look at once."""
        return self.view.condition in (NOT_CONSUMING, SILENT)


@dataclass(frozen=True)
class WorkersPage:
    """The page."""

    live: Sequence[WorkerCard]
    ended: Sequence[WorkerCard]
    more_ended: int
    alarms: Sequence[WorkerCard]
    slots: int
    busy: int
    versions: Sequence[str]
    at: float


def workers_page(q: PrismQ, gauges: Gauges) -> WorkersPage:
    """All workers. Raises QueueDatabaseError."""
    store, now = q.store, q.clock.now()
    standing = store.standing(now)
    gauges.note(standing.workers)
    found = crew_of(standing)
    held: dict[str, list[Task]] = {}
    for task in store.tasks.find(TaskFilter(statuses=("claimed", "processing")), limit=_RUNNING_READ_MAX):
        held.setdefault(task.locked_by or "", []).append(task)
    cards = [_card(one, held.get(one.worker.worker_id, []), gauges, now) for one in found]
    shown = [one for one in cards if one.worker.status not in ("stopped", "lost")]
    # The latest first: those are asked about.
    ended = sorted((one for one in cards if one.worker.status in ("stopped", "lost")), key=lambda one: one.view.age_s)
    live = [one for one in shown if one.view.live]
    return WorkersPage(
        live=sorted(shown, key=lambda one: (not one.is_alarming, one.worker.worker_id)),
        ended=ended[:_ENDED_SHOWN],
        more_ended=max(0, len(ended) - _ENDED_SHOWN),
        alarms=[one for one in shown if one.is_alarming],
        slots=sum(one.worker.slots for one in live),
        busy=sum(one.worker.busy for one in live),
        versions=sorted({one.worker.version or "unknown" for one in live}),
        at=now,
    )


def worker_card(q: PrismQ, gauges: Gauges, worker_id: str) -> WorkerCard | None:
    """One worker; None where there is no such row. Raises QueueDatabaseError."""
    page = workers_page(q, gauges)
    return next((one for one in [*page.live, *page.ended] if one.worker.worker_id == worker_id), None)


def _card(view: WorkerView, running: Sequence[Task], gauges: Gauges, now: float) -> WorkerCard:
    worker = view.worker
    slots = min(worker.slots, _SLOTS_DRAWN_MAX)
    busy = min(worker.busy, slots)
    started = None if worker.started_at_utc is None else to_epoch(worker.started_at_utc)
    until = now if worker.stopped_at_utc is None else to_epoch(worker.stopped_at_utc)
    return WorkerCard(
        view,
        running[:_RUNNING_SHOWN],
        max(0, len(running) - _RUNNING_SHOWN),
        [True] * busy + [False] * (slots - busy),
        told(view),
        None if started is None else max(0.0, until - started),
        gauges.sparks(worker.worker_id),
    )
