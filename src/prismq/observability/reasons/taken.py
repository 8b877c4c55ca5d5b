"""What becomes of a task that a worker has taken, of one that has ended, and of the keys that tasks hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from prismq.domain.task import Task, TaskAttempt
from prismq.domain.times import to_epoch
from prismq.domain.words import duration, first_line, plural
from prismq.observability.reasons.reason import START_ONE, Reason, ago, at_text, moment, what_of
from prismq.storage.contract import HeldKey

# -- it is in a worker's hands


def claimed(task: Task, slots: int, busy: int, held: int, since: float | None, now: float) -> Reason:
    """A worker holds it and has not begun, or has only just."""
    when = f" {ago(since, now)}" if since is not None else ""
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
        text += f" At that pace it ends {moment(data['end_at'], now)}."
    if task.timeout_seconds is not None and since is not None:
        data["timeout_at"] = since + task.timeout_seconds
        left = "is over" if data["timeout_at"] <= now else f"ends {moment(data['timeout_at'], now)}"
        text += f" Its timeout of {duration(task.timeout_seconds)} {left}."
    return Reason("running", text, data)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cancelling(task: Task, asked_at: float, now: float) -> Reason:
    """It was asked to stop and has not."""
    text = f"It was asked to stop {ago(asked_at, now)}, and {task.locked_by} still holds it."
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
        text += f"; unless the lease is renewed, the task becomes {then} {moment(return_at, now)}."
    else:
        text += f"; its lease is over, and the task becomes {then} when a worker's housekeeping looks, every 2 s."
    return Reason("heartbeat_late", text, data)


_SAID = {
    "stopped": "has stopped (it last reported {age} ago)",
    "lost": "was lost (it last reported {age} ago)",
}


def lease_over(over_at: float | None, then: str, now: float) -> Reason:
    """Its lease ran out and nobody has taken it back yet."""
    when = "has no end, as one written by hand" if over_at is None else f"ran out {ago(over_at, now)}"
    text = f"Its lease {when}; the task becomes {then} when a worker's housekeeping looks, every 2 s."
    data = {"lease_until_at": over_at, "late_s": None if over_at is None else now - over_at, "to": then}
    return Reason("lease_over", text, data)


def nobody_returns_it() -> Reason:
    """No worker runs whose housekeeping would take it back."""
    text = "No worker is running, so nobody takes it back."
    return Reason("no_housekeeping", text, {}, START_ONE, blocks=True)


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
    when = "" if ended_at is None else f" {ago(ended_at, now)}"
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
        "attempt", f"Attempt {one.attempt}{where} {how}{ran}: {what_of(one.error_type, one.error_message)}.", data
    )
