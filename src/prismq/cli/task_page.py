"""All there is to know about one task, on one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prismq.cli import output
from prismq.domain.times import from_epoch, to_epoch
from prismq.observability.timeline import tell

if TYPE_CHECKING:
    from prismq.domain.task import Task, TaskAttempt, TaskLog
    from prismq.observability.timeline import Moment

_SHOWN_CHARS_MAX = 20_000  # of a payload or a result; all of it is in --json


def page_json(task: Task, attempts: list[TaskAttempt], logs: list[TaskLog], waits: str | None) -> dict[str, Any]:
    """The page for programs."""
    return {
        "task": output.task_json(task),
        "why_it_waits": waits,
        "attempts": [one.to_dict() for one in attempts],
        "timeline": [one.to_dict() for one in tell(task, attempts, logs)],
        "logs": len(logs),
    }


def print_timeline(found: Sequence[Moment]) -> None:
    """A line for each, with the time since the one before."""
    before: float | None = None
    for one in found:
        gap = "" if before is None else f"+{output.duration(one.at - before)}"
        output.say(f"{output.moment(from_epoch(one.at))}  {gap:>11}  {'to come: ' if one.ahead else ''}{one.text}")
        before = one.at


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
    print_timeline(tell(task, attempts, logs))
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
