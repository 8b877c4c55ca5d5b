"""Is the queue well? Read from what the store knows; pure, so that every verdict has a test of one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prismq.cli.output import duration, plural
from prismq.domain.sketch import Sketch
from prismq.domain.times import to_epoch

if TYPE_CHECKING:
    from datetime import datetime

    from prismq.domain.task import Task
    from prismq.domain.worker import Worker
    from prismq.storage.contract import Outcomes, QueueInfo

LATE_HEARTBEATS = 2.5  # one may be lost, and the next be a little late
SILENT_HEARTBEATS = 6.0
SILENT_S_MIN = 60.0  # a lease at its default: nobody trusts a worker longer
OVERDUE_S = 10.0  # a due task that is still `scheduled`: the housekeeping of some worker should have seen it
FAILURES_MIN = 5  # fewer say nothing about a rate
FAILURE_RATE = 0.1

_LIVE = ("active", "paused", "draining")
_RUNNING = ("claimed", "processing")
_FAILED = ("failed", "dead_letter")
_OUTCOMES = ("completed", *_FAILED, "cancelled", "retried", "snoozed", "released", "lost", "timed_out")

Depth = Mapping[tuple[str, str, str, str], int]


@dataclass(frozen=True)
class WorkerView:
    """A worker, and what to think of it."""

    worker: Worker
    age_s: float  # since its last heartbeat
    condition: str  # its status, or `late heartbeat`, `silent`, `not consuming`

    @property
    def live(self) -> bool:
        """Whether it runs, as far as anyone can tell."""
        return self.worker.status in _LIVE and self.condition != "silent"

    @property
    def working(self) -> bool:
        """Whether it takes new tasks."""
        return self.live and self.worker.status == "active" and self.condition != "not consuming"

    def serves_queue(self, queue: str) -> bool:
        """Whether it was told to serve this queue."""
        return self.queues is None or queue in self.queues

    def serves(self, queue: str, type_: str) -> bool:
        """Whether it would take tasks of this type from this queue; a row that names no types knows all."""
        return self.serves_queue(queue) and (self.types is None or type_ in self.types)

    @property
    def queues(self) -> list[str] | None:
        """The queues it serves; None: all."""
        return _names(self.worker.queues)

    @property
    def types(self) -> list[str] | None:
        """The types it knows; None where it does not say."""
        return _names(self.worker.types)


class Unserved(NamedTuple):
    """Ready tasks that no live worker takes."""

    queue: str
    types: list[str]
    tasks: int
    why: str


class Window(NamedTuple):
    """What ended within a stretch of time."""

    seconds: float
    counts: dict[str, int]
    mean_run_s: float | None
    p50_run_s: float | None
    p95_run_s: float | None
    p95_wait_s: float | None

    @property
    def completed(self) -> int:
        """Tasks that completed."""
        return self.counts.get("completed", 0)

    @property
    def failed(self) -> int:
        """Tasks that ended without success."""
        return sum(self.counts.get(outcome, 0) for outcome in _FAILED)

    @property
    def failure_rate(self) -> float:
        """The part of the ended tasks that failed; 0 where none ended."""
        ended = self.completed + self.failed
        return self.failed / ended if ended else 0.0

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            **{outcome: self.counts.get(outcome, 0) for outcome in _OUTCOMES},
            "per_minute": round(self.completed / self.seconds * 60, 3),
            "failure_rate": round(self.failure_rate, 6),
            "mean_run_seconds": self.mean_run_s,
            "p50_run_seconds": self.p50_run_s,
            "p95_run_seconds": self.p95_run_s,
            "p95_wait_seconds": self.p95_wait_s,
        }


@dataclass(frozen=True)
class Health:
    """The verdict: `healthy`, `degraded` (look at it today) or `unhealthy` (work waits in vain)."""

    level: str
    sentence: str
    problems: list[str] = field(default_factory=list)


def view_of(worker: Worker, now: float, heartbeat_s: float, waiting: Mapping[str, int] | None = None) -> WorkerView:
    """A worker as it is. `waiting`: ready tasks of the queues that are not paused."""
    age_s = _age(worker.heartbeat_utc, now)
    condition = worker.status
    if worker.status in _LIVE:
        if age_s > max(SILENT_HEARTBEATS * heartbeat_s, SILENT_S_MIN):
            condition = "silent"
        elif age_s > LATE_HEARTBEATS * heartbeat_s:
            condition = "late heartbeat"
        elif worker.status == "active" and worker.busy < worker.slots and _looks_away(worker, now, heartbeat_s):
            queues = _names(worker.queues)
            if any(tasks for queue, tasks in (waiting or {}).items() if queues is None or queue in queues):
                condition = "not consuming"
    return WorkerView(worker, age_s, condition)


def views(workers: Iterable[Worker], queues: Iterable[QueueInfo], now: float, heartbeat_s: float) -> list[WorkerView]:
    """All workers as they are, those that run first."""
    waiting = {one.queue: one.depth.get("queued", 0) for one in queues if one.paused_at is None}
    found = [view_of(worker, now, heartbeat_s, waiting) for worker in workers]
    return sorted(found, key=lambda one: (not one.live, one.worker.worker_id))


def unserved(depth: Depth, queues: Iterable[QueueInfo], workers: Sequence[WorkerView]) -> list[Unserved]:
    """Ready tasks that nobody takes, by queue; paused queues are left out, for somebody wanted it so."""
    paused = {one.queue for one in queues if one.paused_at is not None}
    found: dict[str, dict[str, int]] = {}
    for (queue, type_, status, _), tasks in depth.items():
        if status != "queued" or tasks <= 0 or queue in paused:
            continue
        if not any(one.working and one.serves(queue, type_) for one in workers):
            types = found.setdefault(queue, {})
            types[type_] = types.get(type_, 0) + tasks
    return [
        Unserved(queue, sorted(types), sum(types.values()), _why_unserved(queue, types, workers))
        for queue, types in sorted(found.items())
    ]


def _why_unserved(queue: str, types: Mapping[str, int], workers: Sequence[WorkerView]) -> str:
    live = [one for one in workers if one.live]
    if not live:
        silent = sum(one.condition == "silent" for one in workers)
        return "no worker is running" + (f" ({plural(silent, 'worker')} fell silent)" if silent else "")
    serving = [one for one in live if one.serves_queue(queue)]
    if not serving:
        return f"no live worker serves the queue {queue!r}"
    knowing = [one for one in serving if any(one.serves(queue, type_) for type_ in types)]
    if not knowing:
        named = ", ".join(repr(type_) for type_ in sorted(types)[:3]) + (" …" if len(types) > 3 else "")
        return f"no live worker of the queue {queue!r} knows the type {named}"
    words = ", ".join(sorted({one.condition for one in knowing if not one.working}))
    return (
        f"the workers that could are not taking new tasks ({words})" if words else "only some of its types are served"
    )


def window_of(outcomes: Iterable[Outcomes], seconds: float) -> Window:
    """The sums of a stretch of time."""
    counts: dict[str, int] = {}
    run, wait = Sketch(), Sketch()
    run_s = 0.0
    for one in outcomes:
        counts[one.outcome] = counts.get(one.outcome, 0) + one.tasks
        if one.outcome == "completed":
            run_s += one.run_s
            run.merge(Sketch.from_json(one.run_bins))
            wait.merge(Sketch.from_json(one.wait_bins))
    completed = counts.get("completed", 0)
    mean_run_s = run_s / completed if completed else None
    return Window(seconds, counts, mean_run_s, run.quantile(0.5), run.quantile(0.95), wait.quantile(0.95))


def assess(
    queues: Sequence[QueueInfo],
    workers: Sequence[WorkerView],
    left_alone: Sequence[Unserved],
    last_hour: Window,
    *,
    now: float,
    next_due: float | None,
    oldest_ready_max_s: float,
) -> Health:
    """The verdict, in a sentence, and each problem in another."""
    live = [one for one in workers if one.live]
    problems = [
        f"{plural(one.tasks, 'task')} of the queue {one.queue!r} wait{'s' if one.tasks == 1 else ''} and {one.why}."
        for one in left_alone
    ]
    unhealthy = bool(problems)
    if next_due is not None and now - next_due > OVERDUE_S and not live:
        problems.append(
            f"A scheduled task has been due for {duration(now - next_due)}, and no worker is running to make it ready."
        )
        unhealthy = True
    for view in workers:
        worker = view.worker
        if view.condition == "silent":
            held = f" and held {plural(worker.held, 'task')}" if worker.held else ""
            problems.append(
                f"Worker {worker.worker_id} is {worker.status} by its own word, but its last heartbeat is "
                f"{duration(view.age_s)} old{held}; its process may be gone."
            )
        elif view.condition == "late heartbeat":
            problems.append(f"Worker {worker.worker_id} is late: its last heartbeat is {duration(view.age_s)} old.")
        elif view.condition == "not consuming":
            problems.append(
                f"Worker {worker.worker_id} is alive and has free slots, but has not looked for work "
                f"for {duration(_age(worker.last_look_utc or worker.started_at_utc, now))}."
            )
    for queue in queues:
        ready_s = queue.oldest_ready_s
        if queue.paused_at is None and ready_s is not None and ready_s > oldest_ready_max_s:
            problems.append(f"The oldest ready task of the queue {queue.queue!r} has waited for {duration(ready_s)}.")
    if last_hour.failed >= FAILURES_MIN and last_hour.failure_rate > FAILURE_RATE:
        problems.append(
            f"{last_hour.failure_rate:.0%} of the tasks that ended in the last hour failed "
            f"({last_hour.failed:,} of {last_hour.completed + last_hour.failed:,})."
        )
    level = "unhealthy" if unhealthy else "degraded" if problems else "healthy"
    return Health(level, _sentence(level, problems, queues, live), problems)


def _sentence(level: str, problems: Sequence[str], queues: Sequence[QueueInfo], live: Sequence[WorkerView]) -> str:
    if problems:
        more = f" ({plural(len(problems) - 1, 'more problem')} below)" if len(problems) > 1 else ""
        return f"{level.capitalize()}: {problems[0][:-1]}{more}."
    ready, later = (sum(one.depth.get(status, 0) for one in queues) for status in ("queued", "scheduled"))
    running = sum(one.depth.get(status, 0) for one in queues for status in _RUNNING)
    paused = sum(one.paused_at is not None for one in queues)
    who = f"{plural(len(live), 'worker')} {'is' if len(live) == 1 else 'are'} live" if live else "no worker is running"
    what = f"{plural(ready, 'task')} {'is' if ready == 1 else 'are'} ready, {running:,} running"
    if not ready and not running:
        what = "nothing is ready or running"
    if later:
        what += f", {later:,} {'is' if later == 1 else 'are'} scheduled for later"
    return f"{level.capitalize()}: {what}, {who}" + (f", {plural(paused, 'queue')} paused" if paused else "") + "."


def why_it_waits(task: Task, queues: Iterable[QueueInfo], workers: Sequence[WorkerView], now: float) -> str | None:
    """In a sentence, why a waiting task does not run yet; None for one that does not wait."""
    due_in_s = -_age(task.run_after_utc, now)
    if task.status == "scheduled" and due_in_s > 0:
        again = " for its next attempt" if task.attempts else ""
        return f"It is due{again} in {duration(due_in_s)}."
    if task.status not in ("scheduled", "queued"):
        return None
    queue = next((one for one in queues if one.queue == task.queue), None)
    if queue is not None and queue.paused_at is not None:
        who = queue.paused_by or "somebody"
        return f"The queue {task.queue!r} was paused by {who} {duration(now - queue.paused_at)} ago."
    left = unserved({(task.queue, task.type, "queued", "normal"): 1}, (), workers)
    if left:
        return f"{left[0].why[0].upper()}{left[0].why[1:]}."
    if queue is not None and queue.max_running is not None:
        running = sum(queue.depth.get(status, 0) for status in _RUNNING)
        if running >= queue.max_running:
            return f"The queue {task.queue!r} runs {running} tasks, which is its limit ({queue.max_running})."
    if task.compatibility not in ("{}", ""):
        return f"It wants a worker that offers {task.compatibility}; see `prismq workers list`."
    ahead = queue.depth.get("queued", 0) - 1 if queue is not None else 0
    others = plural(max(ahead, 0), "other task")
    return f"It waits for its turn; {others} of its queue {'is' if ahead == 1 else 'are'} ready."


def _looks_away(worker: Worker, now: float, heartbeat_s: float) -> bool:
    # The row tells of the last look with each heartbeat only: two of them, and some patience.
    return _age(worker.last_look_utc or worker.started_at_utc, now) > 3 * heartbeat_s


def _age(when: datetime | None, now: float) -> float:
    return float("inf") if when is None else now - to_epoch(when)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return [str(one) for one in value] if isinstance(value, list) else None
