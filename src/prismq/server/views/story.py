"""A task's whole story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from prismq.app import PrismQ
from prismq.domain.span import TaskSpan
from prismq.domain.status import TERMINAL, TaskStatus
from prismq.domain.task import Task, TaskAttempt, TaskFilter, TaskLog, json_list, json_object
from prismq.domain.times import to_epoch
from prismq.domain.words import duration
from prismq.observability.timeline import Moment, tell
from prismq.observability.why import Explanation, explain
from prismq.server.views.drawing import Bar, bars
from prismq.server.views.values import Shown, TraceLine, shown, trace_lines

LOGS_SHOWN = 300
_LOGS_READ_MAX = 5_000  # for the timeline: what operators did later than that is not in it
_NEIGHBOURS = 2_000  # tasks that are looked at for runs of the same type
_RUNS_SHOWN, _RUNS_LATER = 12, 4
_ENDED = frozenset(status.value for status in TERMINAL)

# What a task is in after a moment of this kind, as a person says it, and its tone.
_STATES = {
    "enqueued": ("waiting", "accent"),
    "claimed": ("claimed", "mute"),
    "started": ("running", "run"),
    "attempt_failed": ("backing off", "wait"),
    "attempt_lost": ("waiting again", "accent"),
    "released": ("waiting again", "accent"),
    "snoozed": ("put off", "wait"),
    "run_now": ("waiting", "accent"),
    "retried_by_operator": ("waiting again", "accent"),
}
_TONES = {
    "completed": "good", "failed": "bad", "dead_letter": "bad", "attempt_failed": "bad", "attempt_lost": "bad",
    "started": "run", "claimed": "mute", "enqueued": "accent", "cancelled": "wait", "cancel_requested": "wait",
    "snoozed": "wait",
}  # fmt: skip


class Step(NamedTuple):
    """A moment, the time since the one before, and its tone."""

    moment: Moment
    gap_s: float | None
    tone: str


class Run(NamedTuple):
    """Another task of the same type. `run_s`: how long its last attempt ran; None where it has not ended."""

    task: Task
    run_s: float | None
    part: float  # of the longest of them
    is_this: bool


class SpanRow(NamedTuple):
    """A span of an attempt in the waterfall; `x` and `width` are parts of the whole attempt."""

    span: TaskSpan
    depth: int
    x: float
    width: float


class AttemptView(NamedTuple):
    """An attempt: what it was, how long it took, its traceback by lines."""

    attempt: TaskAttempt
    run_s: float | None
    trace: Sequence[TraceLine]


@dataclass(frozen=True)
class Progress:
    """What a task said of how far it is. `part`: 0 to 1; None where it said no total."""

    done: str
    part: float | None
    note: str


@dataclass(frozen=True)
class Story:
    """The page."""

    task: Task
    why: Explanation
    path: Sequence[Bar]
    steps: Sequence[Step]
    attempts: Sequence[AttemptView]
    logs: Sequence[TaskLog]
    more_logs: bool
    payload: Shown | None
    result: Shown | None
    progress: Progress | None
    runs: Sequence[Run]
    waterfall: Sequence[tuple[int, str, Sequence[SpanRow]]]
    tags: Sequence[str]
    waited_s: float | None
    run_s: float | None
    at: float

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it unless somebody acts."""
        return self.task.status in _ENDED


def story(q: PrismQ, task_id: int, level: str = "DEBUG") -> Story:
    """Everything about one task. `level`: log lines of this one and above. Raises TaskNotFound, QueueDatabaseError."""
    store, now = q.store, q.clock.now()
    task = q.tasks.get(task_id)
    attempts = store.tasks.attempts(task_id)
    moments = tell(task, attempts, store.tasks.logs(task_id, limit=_LOGS_READ_MAX))
    newest = store.logs.newest(task_id=task_id, limit=LOGS_SHOWN + 1)
    if level != "DEBUG":
        newest = [line for line in newest if _RANKS.get(line.level, 1) >= _RANKS.get(level, 0)]
    return Story(
        task=task,
        why=explain(store, task_id, now),
        path=_path(moments, now, ended=task.status in _ENDED),
        steps=_steps(moments),
        attempts=[_attempt(one) for one in reversed(attempts)],
        logs=newest[:LOGS_SHOWN][::-1],
        more_logs=len(newest) > LOGS_SHOWN,
        payload=shown(task.payload, q.redactor),
        result=shown(task.result, q.redactor),
        progress=_progress(task),
        runs=_runs(q, task),
        waterfall=waterfall(q.spans(task_id)),
        tags=[str(tag) for tag in json_list(task.tags)],
        waited_s=_between(task.run_after_utc, task.reserved_at_utc),
        run_s=_run_s(task, now),
        at=now,
    )


_RANKS = {"DEBUG": 0, "INFO": 1, "WARNING": 2, "ERROR": 3, "CRITICAL": 4}


def _path(moments: Sequence[Moment], now: float, *, ended: bool) -> list[Bar]:
    """The states the task went through, each as wide as it was long."""
    parts: list[tuple[float, str, str]] = []
    state: tuple[str, str] | None = None
    since = 0.0
    past = [one for one in moments if not one.ahead]
    for one in past:
        follows = _STATES.get(one.kind)
        if follows is None and one.kind not in _ENDED:
            continue  # a wish, such as another priority: it changes no state
        if state is not None:
            parts.append((max(one.at - since, 1e-6), state[1], f"{state[0]} for {duration(one.at - since)}"))
        state, since = follows, one.at
    if state is not None and not ended:
        parts.append((max(now - since, 1e-6), state[1], f"{state[0]} for {duration(now - since)} so far"))
    return bars(parts, least=0.012)


def _steps(moments: Sequence[Moment]) -> list[Step]:
    found = []
    before: float | None = None
    for one in moments:
        found.append(Step(one, None if before is None else max(0.0, one.at - before), _TONES.get(one.kind, "mute")))
        before = one.at
    return found


def _attempt(one: TaskAttempt) -> AttemptView:
    run_s = _between(one.started_at_utc or one.reserved_at_utc, one.finished_at_utc)
    return AttemptView(one, run_s, list(trace_lines(one.traceback)) if one.traceback else [])


def _progress(task: Task) -> Progress | None:
    said = json_object(task.progress)
    done, total = said.get("done"), said.get("total")
    if done is None:
        return None
    part = None
    if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total > 0:
        part = min(1.0, max(0.0, done / total))
    return Progress(f"{done} of {total}" if total is not None else str(done), part, str(said.get("note") or ""))


def _runs(q: PrismQ, task: Task) -> list[Run]:
    """The last tasks of the type among those that were enqueued shortly before and after: a bounded look, whatever
    the history holds."""
    this = task.id or 0
    ids = tuple(range(max(1, this - _NEIGHBOURS), this + _NEIGHBOURS // 4))
    found = q.store.tasks.find(TaskFilter(ids=ids, type=task.type), limit=_NEIGHBOURS)
    later = [one for one in found if (one.id or 0) > this]
    # This one among them, with what ran shortly before and shortly after.
    chosen = [*later[-_RUNS_LATER:], *(one for one in found if (one.id or 0) <= this)][:_RUNS_SHOWN]
    now = q.clock.now()
    times = {one.id: _run_s(one, now) for one in chosen}
    longest = max((run_s for run_s in times.values() if run_s is not None), default=0.0)
    return [
        Run(one, times[one.id], (times[one.id] or 0.0) / longest if longest else 0.0, one.id == task.id)
        for one in chosen
    ]  # fmt: skip


def waterfall(spans: Sequence[TaskSpan]) -> list[tuple[int, str, list[SpanRow]]]:
    """Attempt, trace id and rows of each attempt, in the order of the spans."""
    attempts: dict[tuple[int, str], list[TaskSpan]] = {}
    for span in spans:
        attempts.setdefault((span.attempt, span.trace_id), []).append(span)
    return [(number, trace_id, _rows(some)) for (number, trace_id), some in attempts.items()]


def _rows(spans: Sequence[TaskSpan]) -> list[SpanRow]:
    begin = min(span.start for span in spans)
    whole = max(max(span.start + span.duration_s for span in spans) - begin, 1e-6)
    depths: dict[str, int] = {}
    rows = []
    for span in spans:
        depth = depths[span.span_id] = depths.get(span.parent_id or "", -1) + 1
        x = min(0.998, (span.start - begin) / whole)
        rows.append(SpanRow(span, depth, round(x, 5), round(max(0.002, min(span.duration_s / whole, 1 - x)), 5)))
    return rows


def _run_s(task: Task, now: float) -> float | None:
    if task.processing_started_utc is None:
        return None
    if task.finished_at_utc is not None:
        return _between(task.processing_started_utc, task.finished_at_utc)
    return now - to_epoch(task.processing_started_utc) if task.status == TaskStatus.PROCESSING.value else None


def _between(since: datetime | None, until: datetime | None) -> float | None:
    if since is None or until is None:
        return None
    return max(0.0, (until - since).total_seconds())
