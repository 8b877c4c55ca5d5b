"""Why a task is where it is: codes and figures for programs, and the words that are made of them for people.

Keys of `data` that end in `_at` are seconds since 1970, those in `_s` seconds. A code, once given out, keeps its
meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from prismq.domain.breaker import Breaker, BreakerState
from prismq.domain.strategy import SchedulingStrategy
from prismq.domain.task import Task, TaskAttempt
from prismq.domain.times import from_epoch, to_epoch
from prismq.domain.words import duration, first_line, listed, plural
from prismq.observability.condition import Obstacle
from prismq.storage.contract import HeldKey


@dataclass(frozen=True)
class Reason:
    """One reason. `blocks`: until somebody does something about it, the task does not run."""

    code: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""  # what to do about it; empty where there is nothing to do
    blocks: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For programs: `_at` becomes `_at_utc` in ISO 8601, `_s` becomes `_seconds`."""
        return {
            "code": self.code,
            "text": self.text,
            "blocks": self.blocks,
            "advice": self.advice or None,
            "data": as_json(self.data),
        }


def as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with its times as text and its units in full."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key.endswith("_at"):
            found[f"{key}_utc"] = None if value is None else from_epoch(value).isoformat()
        elif key.endswith("_s"):
            seconds = value is not None and value != float("inf")
            found[f"{key[:-2]}_seconds"] = round(value, 3) if seconds else None
        else:
            found[key] = value
    return found


def at_text(epoch_s: float) -> str:
    """`2025-01-31 06:30:00 UTC`."""
    return f"{from_epoch(epoch_s).replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def _in(at: float, now: float) -> str:
    return f"in {duration(at - now)}, at {at_text(at)}"


def _ago(at: float, now: float) -> str:
    return f"{duration(now - at)} ago" if now - at >= 0.1 else "just now"


def _error(kind: str | None, message: str | None) -> str:
    said = first_line(message or "")
    return f"{kind}: {said}" if kind and said and not said.startswith(f"{kind}:") else said or kind or "no reason given"


# -- it is not its time yet


def scheduled(task: Task, due_at: float, now: float) -> Reason:
    """It was enqueued for later."""
    data = {"due_at": due_at, "in_s": due_at - now}
    return Reason("scheduled", f"It is scheduled to run {_in(due_at, now)}.", data, f"prismq tasks run-now {task.id}")


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
    when = f" {_ago(ended, now)}" if ended is not None else ""
    text = (
        f"Attempt {last.attempt} of {task.max_attempts} failed{when} with "
        f"{_error(last.error_type, last.error_message)}; attempt {task.attempts + 1} follows {_in(due_at, now)}."
    )
    return Reason("retry", text, data, f"prismq tasks run-now {task.id}")


def snoozed(why: str, due_at: float, now: float) -> Reason:
    """It put itself back, without using up an attempt."""
    data = {"reason": why, "due_at": due_at, "in_s": due_at - now}
    return Reason("snoozed", f"It put itself back ({first_line(why)}) and runs again {_in(due_at, now)}.", data)


def due(due_at: float, now: float, busy_slots: int) -> Reason:
    """Its time has come, and nobody has seen it yet. `busy_slots`: of its workers, where none is free; else 0."""
    data = {"due_at": due_at, "late_s": now - due_at, "busy_slots": busy_slots}
    text = f"It became due {_ago(due_at, now)}; the next worker that looks for work makes it ready"
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
        f"Attempt {last.attempt} of {task.max_attempts} {how}{where}: {_error(last.error_type, last.error_message)}. "
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
    text = f"The queue {queue!r} was paused by {by or 'somebody'} {_ago(since, now)}."
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
        then = f"next probe {_in(breaker.probe_at, now)}"
    text = f"The circuit breaker of type {breaker.type!r} is open since {at_text(since)} ({breaker.reason}); {then}."
    by_hand = breaker.state is BreakerState.OPEN and breaker.probe_at is None
    return Reason("breaker_open", text, data, f"prismq remediation close {breaker.type}", blocks=by_hand)


_ADVICE = {
    "no_worker": "start one: prismq worker module:app",
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


def next_in_line(crew: Crew) -> Reason:
    """Nothing stands before it, and a slot is free."""
    data = {"workers": crew.workers, "slots": crew.slots, "busy": crew.busy}
    return Reason("next", f"It is next: {_slots(crew)}, and a worker should claim it at its next look.", data)


def ahead(
    count: int, at_most: int | None, strategy: SchedulingStrategy, crew: Crew, start_at: float | None, now: float
) -> Reason:
    """Others come first. `at_most`: where `count` was not counted further, how many there may be."""
    data = {
        "ahead": count,
        "ahead_at_most": count if at_most is None else at_most,
        "strategy": strategy.value,
        "workers": crew.workers,
        "slots": crew.slots,
        "busy": crew.busy,
        "ended_per_second": None if crew.per_s is None else round(crew.per_s, 3),
        "measured_s": crew.measured_s,
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
        "workers": crew.workers,
        "slots": crew.slots,
        "busy": crew.busy,
        "ended_per_second": None if crew.per_s is None else round(crew.per_s, 3),
        "measured_s": crew.measured_s,
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
    return f"{pace}, its turn comes {'no sooner than ' if at_least else 'about '}{_in(start_at, now)}."


# -- it is in a worker's hands


def claimed(task: Task, slots: int, busy: int, held: int, since: float | None, now: float) -> Reason:
    """A worker holds it and has not begun, or has only just."""
    when = f" {_ago(since, now)}" if since is not None else ""
    data = {
        "worker_id": task.locked_by,
        "attempt": task.attempts,
        "max_attempts": task.max_attempts,
        "claimed_at": since,
        "slots": slots,
        "busy": busy,
        "held": held,
    }
    text = f"Worker {task.locked_by} claimed it{when} for attempt {task.attempts} of {task.max_attempts}"
    if slots and busy >= slots:
        text += f"; it waits for one of the worker's {plural(slots, 'slot')}, which are all busy ({held:,} tasks held)"
    return Reason("claimed", f"{text}.", data)


def running(task: Task, progress: Mapping[str, Any], since: float | None, now: float) -> Reason:
    """Its handler runs."""
    data: dict[str, Any] = {
        "worker_id": task.locked_by,
        "attempt": task.attempts,
        "max_attempts": task.max_attempts,
        "started_at": since,
        "running_s": None if since is None else now - since,
        "timeout_at": None,
        "progress": dict(progress) or None,
        "end_at": None,
    }
    when = f" for {duration(now - since)}" if since is not None else ""
    text = f"Attempt {task.attempts} of {task.max_attempts} has been running{when} on {task.locked_by}"
    done, total = progress.get("done"), progress.get("total")
    if _is_number(done) and _is_number(total) and total > 0:
        text += f", {done:,} of {total:,} done ({done / total:.0%})"
        if since is not None and 0 < done < total:
            data["end_at"] = now + (now - since) * (total - done) / done
    elif _is_number(done):
        text += f", {done:,} done"
    if progress.get("note"):
        text += f": {first_line(str(progress['note']))}"
    text += "."
    if data["end_at"] is not None:
        text += f" At that pace it ends {_in(data['end_at'], now)}."
    if task.timeout_seconds is not None and since is not None:
        data["timeout_at"] = since + task.timeout_seconds
        left = "is over" if data["timeout_at"] <= now else f"ends {_in(data['timeout_at'], now)}"
        text += f" Its timeout of {duration(task.timeout_seconds)} {left}."
    return Reason("running", text, data)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cancelling(task: Task, asked_at: float, now: float) -> Reason:
    """It was asked to stop and has not."""
    text = f"It was asked to stop {_ago(asked_at, now)}, and {task.locked_by} still holds it."
    data = {"asked_at": asked_at, "asked_for_s": now - asked_at, "worker_id": task.locked_by}
    return Reason("cancelling", text, data, "a thread that waits in C is reached when the call returns")


def heartbeat_late(
    worker_id: str | None, condition: str, age_s: float | None, return_at: float | None, then: str, now: float
) -> Reason:
    """Its worker may be gone. `then`: the status that the task would have."""
    said = "is not known here" if age_s is None else _SAID.get(condition, "last reported {age} ago")
    text = f"Worker {worker_id} {said.format(age=duration(age_s))}"
    data = {
        "worker_id": worker_id,
        "condition": condition,
        "heartbeat_age_s": age_s,
        "return_at": return_at,
        "to": then,
    }
    if return_at is not None and return_at > now:
        text += f"; unless the lease is renewed, the task becomes {then} {_in(return_at, now)}."
    else:
        text += f"; its lease is over, and the task becomes {then} when a worker's housekeeping looks, every 2 s."
    return Reason("heartbeat_late", text, data)


_SAID = {
    "stopped": "has stopped (it last reported {age} ago)",
    "lost": "was lost (it last reported {age} ago)",
}


def lease_over(over_at: float | None, then: str, now: float) -> Reason:
    """Its lease ran out and nobody has taken it back yet."""
    when = "has no end, as one written by hand" if over_at is None else f"ran out {_ago(over_at, now)}"
    text = f"Its lease {when}; the task becomes {then} when a worker's housekeeping looks, every 2 s."
    data = {"lease_until_at": over_at, "late_s": None if over_at is None else now - over_at, "to": then}
    return Reason("lease_over", text, data)


def nobody_returns_it() -> Reason:
    """No worker runs whose housekeeping would take it back."""
    text = "No worker is running, so nobody takes it back."
    return Reason("no_housekeeping", text, {}, _ADVICE["no_worker"], blocks=True)


# -- keys


def deduplicated(task: Task) -> Reason:
    """The enqueue that was asked about created nothing."""
    text = f"This enqueue created nothing: task {task.id}, which holds its key, was returned instead."
    return Reason("deduplicated", text, {"task_id": task.id, "idempotency_key": task.idempotency_key})


def holds_key(held: HeldKey, now: float) -> Reason:
    """Enqueues with its unique key are answered with this task."""
    until = [at_text(held.until)] if held.until > now else []
    until += ["it has ended"] if held.pending else []
    text = f"It holds the unique key {held.key!r} until {' and until '.join(until)}: the same call enqueues nothing."
    data = {"unique_key": held.key, "until_at": held.until, "until_ended": held.pending}
    return Reason("holds_key", text, data)


# -- it has ended


def ended(task: Task, started_at: float | None, ended_at: float | None, now: float) -> Reason:
    """What became of it. The code is `completed`, `failed`, `dead_letter` or `cancelled`."""
    claimed_at = None if task.reserved_at_utc is None else to_epoch(task.reserved_at_utc)
    due_at = None if task.run_after_utc is None else to_epoch(task.run_after_utc)
    run_s = None if started_at is None or ended_at is None else max(0.0, ended_at - started_at)
    wait_s = None if claimed_at is None or due_at is None else max(0.0, claimed_at - due_at)
    data = {
        "ended_at": ended_at,
        "attempts": task.attempts,
        "max_attempts": task.max_attempts,
        "wait_s": wait_s,
        "run_s": run_s,
        "error_message": task.error_message,
        "worker_id": task.locked_by,
    }
    again = f"prismq tasks retry {task.id}"
    when = "" if ended_at is None else f" {_ago(ended_at, now)}"
    ran = f", after it ran for {duration(run_s)}" if run_s is not None else ""
    why = first_line(task.error_message or "")
    if task.status == "completed":
        text = f"It completed{when} at attempt {task.attempts} of {task.max_attempts}{ran}."
        return Reason("completed", text, data)
    if task.status == "cancelled":
        begun = "while it ran" if started_at is not None else "before it ran"
        return Reason("cancelled", f"It was cancelled{when}, {begun}{f': {why}' if why else ''}.", data, again)
    if task.status == "dead_letter":
        text = f"It became a dead letter{when}, when attempt {task.attempts} of {task.max_attempts} ended with "
        return Reason("dead_letter", f"{text}{why or 'no error that is known'}.", data, again)
    text = f"It failed for good{when} at attempt {task.attempts} of {task.max_attempts}: {why or 'no error is known'}."
    return Reason("failed", text, data, again)


_OUTCOMES = {
    "retried": "failed",
    "failed": "failed for good",
    "dead_letter": "failed",
    "cancelled": "was cancelled",
    "lost": "was lost with its worker",
}


def attempt(one: TaskAttempt) -> Reason:
    """What became of one attempt."""
    begun = one.started_at_utc or one.reserved_at_utc
    run_s = None if begun is None or one.finished_at_utc is None else (one.finished_at_utc - begun).total_seconds()
    data = {
        "attempt": one.attempt,
        "outcome": one.outcome,
        "worker_id": one.worker_id,
        "claimed_at": None if one.reserved_at_utc is None else to_epoch(one.reserved_at_utc),
        "started_at": None if one.started_at_utc is None else to_epoch(one.started_at_utc),
        "ended_at": None if one.finished_at_utc is None else to_epoch(one.finished_at_utc),
        "run_s": run_s,
        "error_type": one.error_type,
        "error_message": one.error_message,
    }
    where = f" on {one.worker_id}" if one.worker_id else ""
    ran = f" after {duration(run_s)}" if run_s is not None else ""
    how = _OUTCOMES.get(one.outcome, f"ended as {one.outcome}")
    return Reason(
        "attempt", f"Attempt {one.attempt}{where} {how}{ran}: {_error(one.error_type, one.error_message)}.", data
    )
