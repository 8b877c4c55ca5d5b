"""Why a task waits: it is not its time, something holds it up, or it is not its turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prismq.domain.breaker import Breaker, BreakerState
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import Task, TaskAttempt
from prismq.domain.times import to_epoch
from prismq.domain.words import duration, first_line, listed, plural
from prismq.observability.condition import Obstacle
from prismq.observability.reasons.reason import START_ONE, Reason, ago, at_text, moment, what_of

# -- it is not its time yet


def scheduled(task: Task, due_at: float, now: float) -> Reason:
    """It was enqueued for later."""
    data = {"due_at": due_at, "in_s": due_at - now}
    return Reason(
        "scheduled", f"It is scheduled to run {moment(due_at, now)}.", data, f"prismq tasks run-now {task.id}"
    )


def retry(last: TaskAttempt, task: Task, due_at: float, now: float) -> Reason:
    """It waits for its next attempt."""
    ended = None if last.finished_at_utc is None else to_epoch(last.finished_at_utc)
    data = {
        "attempt": task.attempts + 1,
        "max_attempts": task.max_attempts,
        "due_at": due_at,
        "in_s": due_at - now,
        "failed_attempt": last.attempt,
        "failed_at": ended,
        "error_type": last.error_type,
        "error_message": last.error_message,
    }
    when = f" {ago(ended, now)}" if ended is not None else ""
    text = (
        f"Attempt {last.attempt} of {task.max_attempts} failed{when} with "
        f"{what_of(last.error_type, last.error_message)}; attempt {task.attempts + 1} follows {moment(due_at, now)}."
    )
    return Reason("retry", text, data, f"prismq tasks run-now {task.id}")


def snoozed(why: str, due_at: float, now: float) -> Reason:
    """It put itself back, without using up an attempt."""
    data = {"reason": why, "due_at": due_at, "in_s": due_at - now}
    return Reason("snoozed", f"It put itself back ({first_line(why)}) and runs again {moment(due_at, now)}.", data)


def due(due_at: float, now: float, busy_slots: int) -> Reason:
    """Its time has come, and nobody has seen it yet. `busy_slots`: of its workers, where none is free; else 0."""
    data = {"due_at": due_at, "late_s": now - due_at, "busy_slots": busy_slots}
    text = f"It became due {ago(due_at, now)}; the next worker that looks for work makes it ready"
    if busy_slots:
        text += f", and none looks while all {plural(busy_slots, 'slot')} of those that can take it are busy"
    return Reason("due", f"{text}.", data)


def returned(last: TaskAttempt, task: Task, now: float) -> Reason:
    """It had its attempts before, and is ready for another."""
    how = "was lost with its worker" if last.outcome == "lost" else "failed"
    where = f" on {last.worker_id}" if last.worker_id else ""
    data = {
        "attempt": task.attempts + 1,
        "max_attempts": task.max_attempts,
        "failed_attempt": last.attempt,
        "outcome": last.outcome,
        "worker_id": last.worker_id,
        "error_type": last.error_type,
        "error_message": last.error_message,
    }
    text = (
        f"Attempt {last.attempt} of {task.max_attempts} {how}{where}: {what_of(last.error_type, last.error_message)}. "
        f"It is ready for attempt {task.attempts + 1}."
    )
    return Reason("returned", text, data)


def suspect(task: Task) -> Reason:
    """Its workers died twice: it is run with care."""
    text = f"{plural(task.crashes, 'worker')} died while they held it, so a process runs it beside no other such task."
    return Reason("suspect", text, {"crashes": task.crashes})


# -- it may not, or nobody can


def queue_paused(queue: str, by: str | None, since: float, now: float) -> Reason:
    """Somebody paused its queue."""
    text = f"The queue {queue!r} was paused by {by or 'somebody'} {ago(since, now)}."
    data = {"queue": queue, "paused_by": by, "paused_at": since, "paused_for_s": now - since}
    return Reason("queue_paused", text, data, f"prismq queues resume {queue}", blocks=True)


def limit_reached(queue: str, running: int, max_running: int, holders: Sequence[Task]) -> Reason:
    """Its queue runs as many as it may."""
    ids = sorted(task.id for task in holders if task.id is not None)
    held = f" (task{'' if len(ids) == 1 else 's'} {listed([str(one) for one in ids])})" if ids else ""
    data = {"queue": queue, "running": running, "max_running": max_running, "held_by": ids}
    text = f"The queue {queue!r} runs {plural(running, 'task')}{held}, and its limit is {max_running:,}."
    return Reason("limit_reached", text, data, f"it waits for one of them to end, or for prismq queues limit {queue}")


def breaker_open(breaker: Breaker, now: float) -> Reason:
    """Tasks of its type fail all at once, and wait for one of them to be tried."""
    since = breaker.since if breaker.opened_at is None else breaker.opened_at
    data = {
        "type": breaker.type,
        "state": breaker.state.value,
        "opened_at": since,
        "reason": breaker.reason,
        "probe_at": breaker.probe_at,
        "probe_task_id": breaker.probe_task_id,
    }
    then = "it stays so until somebody closes it"
    if breaker.state is BreakerState.PROBING:
        then = f"task {breaker.probe_task_id} is tried now"
    elif breaker.state is BreakerState.HALF_OPEN:
        then = "the next of its tasks that a worker claims is tried"
    elif breaker.probe_at is not None:
        then = f"next probe {moment(breaker.probe_at, now)}"
    text = f"The circuit breaker of type {breaker.type!r} is open since {at_text(since)} ({breaker.reason}); {then}."
    by_hand = breaker.state is BreakerState.OPEN and breaker.probe_at is None
    return Reason("breaker_open", text, data, f"prismq remediation close {breaker.type}", blocks=by_hand)


_ADVICE = {
    "no_worker": START_ONE,
    "queue_unserved": "start a worker with --queues that name it, or without",
    "type_unserved": "is the module that defines it imported by the application of the workers?",
    "compatibility_unserved": "start a worker with --capabilities that offer it",
    "compatibility_unreadable": "it was written by hand: it must be a JSON object; correct the row, or delete the task",
    "workers_not_taking": "prismq workers list shows why; prismq workers resume all ends a pause",
}


def unserved(obstacle: Obstacle) -> Reason:
    """No worker takes it."""
    hint = obstacle.data.get("hint") or ""
    text = f"{obstacle.clause[0].upper()}{obstacle.clause[1:]}.{f' {hint}' if hint else ''}"
    return Reason(obstacle.code, text, obstacle.data, _ADVICE[obstacle.code], blocks=True)


# -- it waits for its turn


_ORDERS = {
    SchedulingStrategy.PRIORITY: "in order of priority",
    SchedulingStrategy.FIFO: "in order of age",
    SchedulingStrategy.LIFO: "because the newest go first",
}


@dataclass(frozen=True)
class Crew:
    """The workers that can take it, and their pace."""

    workers: int
    slots: int
    busy: int
    per_s: float | None  # attempts that ended a second; None where none did lately
    measured_s: float

    def standing(self) -> dict[str, object]:
        """As data: who they are."""
        return {"workers": self.workers, "slots": self.slots, "busy": self.busy}

    def pace(self) -> dict[str, object]:
        """As data: how fast they are."""
        per_s = None if self.per_s is None else round(self.per_s, 3)
        return {"ended_per_second": per_s, "measured_s": self.measured_s}


def next_in_line(crew: Crew) -> Reason:
    """Nothing stands before it, and a slot is free."""
    data = crew.standing()
    return Reason("next", f"It is next: {_slots(crew)}, and a worker should claim it at its next look.", data)


def ahead(
    count: int, at_most: int | None, strategy: SchedulingStrategy, crew: Crew, start_at: float | None, now: float
) -> Reason:
    """Others come first. `at_most`: where `count` was not counted further, how many there may be."""
    data = {
        "ahead": count,
        "ahead_at_most": count if at_most is None else at_most,
        "strategy": strategy.value,
        **crew.standing(),
        **crew.pace(),
        "start_at": start_at,
    }
    many = plural(count, "task") if at_most is None else f"between {count:,} and {at_most:,} tasks"
    verb = "is" if count == 1 and at_most is None else "are"
    text = f"{many[0].upper()}{many[1:]} {verb} ahead of it, {_ORDERS[strategy]}"
    if count == 0:
        text = "It is next, and every slot is busy"
    return Reason("ahead", f"{text}; {_slots(crew)}. {_pace(crew, start_at, now, at_least=at_most is not None)}", data)


def by_lot(count: int, at_most: int | None, crew: Crew) -> Reason:
    """The workers draw lots: it has no place in a line."""
    data = {
        "others": count,
        "others_at_most": count if at_most is None else at_most,
        **crew.standing(),
        **crew.pace(),
    }
    many = plural(count, "other task") if at_most is None else f"at least {count:,} other tasks"
    text = f"Its workers draw by lot, weighted by priority, and {many} {'is' if count == 1 else 'are'} ready"
    return Reason("by_lot", f"{text}; {_slots(crew)}. {_pace(crew, None, 0.0, at_least=False)}", data)


def _slots(crew: Crew) -> str:
    who = plural(crew.workers, "worker")
    return f"{who} that can take it {'has' if crew.workers == 1 else 'have'} {crew.busy:,} of {crew.slots:,} slots busy"


def _pace(crew: Crew, start_at: float | None, now: float, *, at_least: bool) -> str:
    if crew.per_s is None:
        return f"Nothing has ended in the last {duration(crew.measured_s)}, so there is no pace to judge by."
    rate = f"{crew.per_s:,.1f} a second" if crew.per_s >= 1 else f"{crew.per_s * 60:,.1f} a minute"
    pace = f"At the pace of the last {duration(crew.measured_s)} ({rate})"
    if start_at is None:
        return f"{pace}, its turn comes by chance."
    return f"{pace}, its turn comes {'no sooner than ' if at_least else 'about '}{moment(start_at, now)}."
