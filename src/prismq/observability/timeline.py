"""The whole story of one task, from its row, its attempts and the transitions in its log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prismq.domain.errors import TaskNotFound
from prismq.domain.status import TaskStatus
from prismq.domain.task import Task, TaskAttempt, TaskLog
from prismq.domain.times import from_epoch, to_epoch
from prismq.domain.words import duration, first_line
from prismq.storage.contract import Store

LOGS_READ_MAX = 20_000  # lines of one task; beyond, what operators did later may be missing
_PAGE = 1_000

_WORDS = "|".join(status.value for status in TaskStatus)
_PATH = re.compile(rf"^(?:{_WORDS})(?: → (?:{_WORDS}))+(?=$|:)")
# What only the log knows: operators act without an attempt.
_BY_OPERATORS = (
    (re.compile(r"→ queued: retried by an operator"), "retried_by_operator"),
    (re.compile(r"→ queued: run now"), "run_now"),
    (re.compile(r"^priority -?\d+ → -?\d+"), "priority_changed"),
    (re.compile(r": asked to cancel"), "cancel_requested"),
    (re.compile(r"→ cancelled$"), "cancelled"),
)
_ENDINGS = {
    "retried": "failed",
    "failed": "failed for good",
    "dead_letter": "failed for the last time",
    "cancelled": "was cancelled",
    "lost": "was lost with its worker",
}


@dataclass(frozen=True)
class Moment:
    """Something that happened to a task, or (`ahead`) is to happen. Times are seconds since 1970, durations seconds.

    `kind` is one of enqueued, claimed, started, attempt_failed, attempt_lost, released, snoozed, cancel_requested,
    priority_changed, run_now, retried_by_operator, completed, failed, dead_letter, cancelled, due, lease_ends.
    """

    at: float
    kind: str
    text: str
    duration_s: float | None = None
    worker_id: str | None = None
    attempt: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    ahead: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For programs; `event` is the text."""
        return {
            "at_utc": from_epoch(self.at).isoformat(),
            "kind": self.kind,
            "event": self.text,
            "duration_seconds": None if self.duration_s is None else round(self.duration_s, 6),
            "worker_id": self.worker_id,
            "attempt": self.attempt,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "traceback": self.traceback,
            "ahead": self.ahead,
        }


def timeline(store: Store, task_id: int) -> list[Moment]:
    """What happened to the task, oldest first, and what is to come. Raises TaskNotFound and QueueDatabaseError."""
    task = store.tasks.get(task_id)
    if task is None:
        raise TaskNotFound(task_id)
    return tell(task, store.tasks.attempts(task_id), list(_logs(store, task_id)))


def _logs(store: Store, task_id: int) -> Iterator[TaskLog]:
    after_id = read = 0
    while read < LOGS_READ_MAX and (page := store.tasks.logs(task_id, limit=_PAGE, after_id=after_id)):
        yield from page
        read += len(page)
        after_id = page[-1].log_id or 0


def tell(task: Task, attempts: Sequence[TaskAttempt], logs: Sequence[TaskLog]) -> list[Moment]:
    """The same from what was read. Pure.

    The row and the attempts are the truth; the log adds what they do not keep: what operators did, work that was given
    back, and ends before an operator's retry.
    """
    found: list[Moment] = []
    if task.created_at_utc is not None:
        found.append(Moment(to_epoch(task.created_at_utc), "enqueued", f"enqueued on {task.queue}"))
    for one in attempts:
        found += _attempt(one)
    current = task.reserved_at_utc is not None and task.reserved_at_utc not in {one.reserved_at_utc for one in attempts}
    found += [moment for line in logs if (moment := _of_log(line, task)) is not None]
    if current:
        found += _current(task)
    found += _end(task, attempts)
    found += _to_come(task)
    return sorted(found, key=lambda one: (one.ahead, one.at, _ORDER.get(one.kind, 4 + (one.attempt is None))))


# What came at one moment is told in the order in which it must have come.
_ORDER = {"enqueued": 0, "run_now": 1, "claimed": 2, "started": 3}  # 4: an attempt ended


def path_of(message: str | None) -> list[str]:
    """The statuses that a log line says a task went through; none where it says nothing of the kind."""
    found = _PATH.match(message or "")
    return found.group().split(" → ") if found else []


def _attempt(one: TaskAttempt) -> Iterator[Moment]:
    worker, number = one.worker_id, one.attempt
    if one.reserved_at_utc is not None:
        text = f"attempt {number} claimed by {worker}"
        yield Moment(to_epoch(one.reserved_at_utc), "claimed", text, worker_id=worker, attempt=number)
    if one.started_at_utc is not None:
        waited_s = _between(one.reserved_at_utc, one.started_at_utc)
        yield Moment(
            to_epoch(one.started_at_utc), "started", f"attempt {number} started", waited_s, worker, number
        )  # fmt: skip
    if one.finished_at_utc is None:
        return
    ran_s = _between(one.started_at_utc or one.reserved_at_utc, one.finished_at_utc)
    kind = {"lost": "attempt_lost", "retried": "attempt_failed"}.get(one.outcome, one.outcome)
    why = first_line(one.error_message or "")
    text = f"attempt {number} {_ENDINGS.get(one.outcome, f'ended as {one.outcome}')}{_after(ran_s)}"
    if one.error_type or why:
        text += f": {': '.join(part for part in (one.error_type, why) if part)}"
    yield Moment(
        to_epoch(one.finished_at_utc), kind, text, ran_s, worker, number,
        one.error_type, one.error_message if one.error_type else None, one.traceback,
    )  # fmt: skip


def _of_log(line: TaskLog, task: Task) -> Moment | None:
    """What a line of the log tells that is told nowhere else; None for all others."""
    message = line.message or ""
    if line.at_utc is None:
        return None
    at, details = to_epoch(line.at_utc), line.get_details_dict()
    if line.attempt is None:
        for pattern, kind in _BY_OPERATORS:
            # The row tells of the last cancellation itself.
            if pattern.search(message) and (kind != "cancelled" or line.at_utc != task.finished_at_utc):
                return Moment(at, kind, message)
        return None
    path = _PATH.match(message)
    if path is None:
        return None
    to = path[0].rpartition(" → ")[2]
    worker, number = _text(details.get("worker_id")), line.attempt
    reason = message[path.end() + 2 :]
    if to in ("queued", "scheduled") and "worker lost" not in reason:
        kind, words = ("released", "given back") if to == "queued" else ("snoozed", "put off")
        text = (
            f"attempt {number} {words}: {reason.removeprefix('given back: ')}"
            if reason
            else f"attempt {number} {words}"
        )
        return Moment(at, kind, text, worker_id=worker, attempt=number)
    if to == "completed" and (task.status != "completed" or line.at_utc != task.finished_at_utc):
        ran_s = _number(details.get("run_s"))
        return Moment(at, "completed", f"attempt {number} completed{_after(ran_s)}", ran_s, worker, number)
    return None


def _current(task: Task) -> Iterator[Moment]:
    """The claim and the start of the attempt that the row itself tells of."""
    worker = task.locked_by
    by = f" by {worker}" if worker else ""
    # A task that waits again without an attempt to show for it was given back: that attempt does not count.
    number = task.attempts + (task.status in ("queued", "scheduled"))
    if task.reserved_at_utc is not None:
        text = f"attempt {number} claimed{by}"
        yield Moment(to_epoch(task.reserved_at_utc), "claimed", text, worker_id=worker, attempt=number)
    if task.processing_started_utc is not None:
        waited_s = _between(task.reserved_at_utc, task.processing_started_utc)
        at = to_epoch(task.processing_started_utc)
        yield Moment(at, "started", f"attempt {number} started", waited_s, worker, number)


def _end(task: Task, attempts: Sequence[TaskAttempt]) -> Iterator[Moment]:
    """The task's own end, where no attempt has told it."""
    if task.finished_at_utc is None:
        return
    at, status = to_epoch(task.finished_at_utc), task.status
    ending = next((one.outcome for one in attempts if one.finished_at_utc == task.finished_at_utc), None)
    if ending == status:
        return
    if ending is not None:
        yield Moment(at, status, f"became {status}")
    elif status == "cancelled":
        yield Moment(at, status, "cancelled while it waited")
    else:
        ran_s = _between(task.processing_started_utc, task.finished_at_utc)
        error = task.error_message if status != "completed" else None
        how = "completed" if status == "completed" else f"ended as {status}"
        text = f"attempt {task.attempts} {how}{_after(ran_s)}" + (f": {first_line(error)}" if error else "")
        yield Moment(at, status, text, ran_s, task.locked_by, task.attempts, None, error)


def _to_come(task: Task) -> Iterator[Moment]:
    if task.status == "scheduled" and task.run_after_utc is not None:
        again = f"attempt {task.attempts + 1}" if task.attempts else "the first attempt"
        yield Moment(to_epoch(task.run_after_utc), "due", f"{again} is due", ahead=True)
    if task.status in ("claimed", "processing") and task.lease_until_utc is not None:
        text = "the lease ends, unless it is renewed"
        yield Moment(to_epoch(task.lease_until_utc), "lease_ends", text, worker_id=task.locked_by, ahead=True)


def _between(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else max(0.0, (until - since).total_seconds())


def _after(seconds: float | None) -> str:
    return "" if seconds is None else f" after {duration(seconds)}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
