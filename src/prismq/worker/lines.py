"""The log line that goes with the end of an attempt: what `task_logs` says about it."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from prismq.domain.lease import LogLine, Settlement
from prismq.domain.status import TaskStatus
from prismq.domain.times import epoch_to_text

_S = TaskStatus
RANKS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


def line_for(entry: Settlement, *, floor: int) -> LogLine | None:
    """The line for `entry`; None where its level ranks below `floor`.

    States that came and went within one flush share one line: `queued → claimed → processing → completed`.
    """
    lease = entry.lease
    if entry.to is _S.COMPLETED:
        if floor > RANKS["DEBUG"]:
            return None
        started = entry.at if entry.started_at is None else entry.started_at
        # Built by hand: this is the line of every task, and a JSON library would cost as much as the task.
        details = (
            f'{{"worker_id":"{lease.worker_id}","wait_s":{max(0.0, started - lease.run_after):.6f},'
            f'"run_s":{max(0.0, entry.at - started):.6f}}}'
        )
        return LogLine(lease.task_id, entry.at, "DEBUG", _PATHS[entry.was, entry.to], details, lease.attempt)
    line = _line_for(entry)
    return line if RANKS[line.level] >= floor else None


def _line_for(entry: Settlement) -> LogLine:
    lease = entry.lease
    path = _PATHS.get((entry.was, entry.to)) or f"{entry.was} → {entry.to}"
    if entry.to is _S.PROCESSING:
        return _line(entry, "DEBUG", "queued → claimed → processing", {"worker_id": lease.worker_id})
    if entry.to is _S.SCHEDULED and entry.counts:
        wait_s = 0.0 if entry.run_after is None else entry.run_after - entry.at
        message = f"attempt {lease.attempt}/{lease.max_attempts} failed, retry in {wait_s:.3g} s: {_error(entry)}"
        return _line(entry, "WARNING", message, _failure(entry))
    if entry.to in (_S.FAILED, _S.DEAD_LETTER):
        return _line(entry, "ERROR", f"{path}: {entry.reason or _error(entry)}", _failure(entry))
    if entry.to is _S.CANCELLED:
        return _line(entry, "WARNING", f"{path}: {entry.reason}", {"worker_id": lease.worker_id})
    return _line(entry, "INFO", f"{path}: {entry.reason}", {"worker_id": lease.worker_id})


_PATHS = {
    (_S.CLAIMED, to): f"queued → claimed → processing → {to}" for to in (_S.COMPLETED, _S.FAILED, _S.DEAD_LETTER)
} | {(_S.PROCESSING, to): f"processing → {to}" for to in TaskStatus}


def _error(entry: Settlement) -> str:
    return f"{entry.error.type}: {entry.error.message}" if entry.error else entry.reason


def _failure(entry: Settlement) -> dict[str, Any]:
    lease, error = entry.lease, entry.error
    details: dict[str, Any] = {
        "worker_id": lease.worker_id,
        "attempt": lease.attempt,
        "max_attempts": lease.max_attempts,
    }
    if error:
        details |= {"error_type": error.type, "error_message": error.message, "stack_trace": error.traceback}
    if entry.run_after is not None:
        details["next_run_after"] = epoch_to_text(entry.run_after)
    return details


def _line(entry: Settlement, level: str, message: str, details: dict[str, Any]) -> LogLine:
    return LogLine(entry.lease.task_id, entry.at, level, message, to_json(details).decode(), entry.lease.attempt)
