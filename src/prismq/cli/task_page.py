"""All there is to know about one task, on one page."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prismq.cli import output
from prismq.domain.times import to_epoch

if TYPE_CHECKING:
    from prismq.domain.task import Task, TaskAttempt, TaskLog

_SHOWN_CHARS_MAX = 20_000  # of a payload or a result; all of it is in --json


class Moment(NamedTuple):
    """A line of the timeline."""

    at: datetime
    what: str


def page_json(task: Task, attempts: list[TaskAttempt], logs: list[TaskLog], waits: str | None) -> dict[str, Any]:
    """The page for programs."""
    return {
        "task": output.task_json(task),
        "why_it_waits": waits,
        "attempts": [one.to_dict() for one in attempts],
        "timeline": [{"at_utc": one.at.isoformat(), "event": one.what} for one in timeline(task, attempts, logs)],
        "logs": len(logs),
    }


def timeline(task: Task, attempts: list[TaskAttempt], logs: list[TaskLog]) -> list[Moment]:
    """What happened and when, oldest first: from the task's own times, its attempts and its transitions."""
    found: list[Moment] = []

    def add(at: datetime | None, what: str) -> None:
        if at is not None:
            found.append(Moment(at, what))

    add(task.created_at_utc, "enqueued")
    for one in attempts:
        add(one.reserved_at_utc, f"attempt {one.attempt} claimed by {one.worker_id}")
        add(one.started_at_utc, f"attempt {one.attempt} started")
        why = f": {one.error_type}: {output.one_line(one.error_message or '')}" if one.error_type else ""
        add(one.finished_at_utc, f"attempt {one.attempt} ended as {one.outcome}{why}")
    if task.reserved_at_utc not in {one.reserved_at_utc for one in attempts}:
        add(
            task.reserved_at_utc,
            f"attempt {task.attempts} claimed" + (f" by {task.locked_by}" if task.locked_by else ""),
        )
        add(task.processing_started_utc, f"attempt {task.attempts} started")
    add(task.cancel_requested_utc, "asked to cancel")
    for line in logs:
        # Transitions of workers are told above; those of operators are told by the log alone.
        message = line.message or ""
        if any(word in message for word in ("by an operator", "run now", "priority ", "given back", "→ cancelled")):
            add(line.at_utc, message)
    add(task.finished_at_utc, task.status)
    if task.status == "scheduled":
        add(task.run_after_utc, "due")
    if task.state in ("claimed", "processing", "cancelling"):
        add(task.lease_until_utc, "lease ends, unless it is renewed")
    return sorted(found, key=lambda one: one.at)


def print_page(task: Task, attempts: list[TaskAttempt], logs: list[TaskLog], waits: str | None, now: float) -> None:
    """The page for people."""
    lost = f", {task.crashes} lost" if task.crashes else ""
    output.say(output.coloured(f"Task {task.id}: {task.type} is ", task.state))
    if waits:
        output.say(waits)
    output.say("")
    output.print_pairs(
        [
            ("Queue", f"{task.queue}, priority {task.priority}"),
            (
                "Attempts",
                f"{task.attempts} of {task.max_attempts}{lost}",
            ),
            ("Worker", task.locked_by or ""),
            ("Waited", _span(task.run_after_utc, task.reserved_at_utc)),
            ("Ran", _span(task.processing_started_utc, task.finished_at_utc) or _since(task, now)),
            ("Timeout", "" if task.timeout_seconds is None else output.duration(task.timeout_seconds)),
            ("Needs", "" if task.compatibility in ("{}", "") else task.compatibility),
            ("Tags", _words(task.tags)),
            ("Key", task.idempotency_key or ""),
            ("Schedule", task.schedule or ""),
            ("Headers", "" if task.headers in (None, "{}") else str(task.headers)),
            ("Progress", _progress(task.progress)),
            ("Error", task.error_message or ""),
        ]
    )
    _block("Payload", task.payload)
    _block("Result", task.result)
    for one in attempts:
        output.heading(f"Attempt {one.attempt}: {one.outcome}")
        where = f"on {one.worker_id}, " if one.worker_id else ""
        ran = _span(one.started_at_utc or one.reserved_at_utc, one.finished_at_utc)
        output.say(f"{where}{output.moment(one.finished_at_utc)}{f', after {ran}' if ran else ''}")
        if one.traceback:
            output.say(one.traceback.rstrip())
        elif one.error_type:
            output.say(f"{one.error_type}: {one.error_message or ''}")
    output.heading("Timeline")
    for moment in timeline(task, attempts, logs):
        output.say(f"{output.moment(moment.at)}  {moment.what}")
    if logs:
        output.say(f"\n{output.plural(len(logs), 'log line')}: prismq tasks logs {task.id}")


def _block(title: str, text: str | None) -> None:
    if text is None:
        return
    value = output.value_of(text)
    shown = value if isinstance(value, str) and value == text else json.dumps(value, indent=2, ensure_ascii=False)
    output.heading(title)
    cut = len(shown) - _SHOWN_CHARS_MAX
    output.say(
        shown if cut <= 0 else f"{shown[:_SHOWN_CHARS_MAX]}\n… and {cut:,} characters more; all of it with --json"
    )


def _span(since: datetime | None, until: datetime | None) -> str:
    return "" if since is None or until is None else output.duration((until - since).total_seconds())


def _since(task: Task, now: float) -> str:
    if task.status != "processing" or task.processing_started_utc is None:
        return ""
    return f"{output.duration(now - to_epoch(task.processing_started_utc))} so far"


def _words(text: str | None) -> str:
    value = output.value_of(text)
    return ", ".join(map(str, value)) if isinstance(value, list) else text or ""


def _progress(text: str | None) -> str:
    value = output.value_of(text)
    if not isinstance(value, dict):
        return text or ""
    done, total, note = value.get("done"), value.get("total"), value.get("note")
    words = str(done) if total is None else f"{done} of {total}"
    if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total:
        words += f" ({done / total:.0%})"
    return f"{words}: {note}" if note else words
