"""What follows from how a handler ended: complete, retry, snooze, fail, dead-letter or cancel."""

from __future__ import annotations

import traceback
from random import Random
from typing import NamedTuple

from prismq.domain.backoff import Backoff
from prismq.domain.errors import PermanentError, Retry, Snooze, TaskCancelled
from prismq.domain.lease import ErrorInfo
from prismq.domain.limits import DELAY_S_MAX, ERROR_CHARS_MAX, TRACEBACK_CHARS_MAX
from prismq.domain.status import TaskStatus

_WORKER_FILES = __file__.rpartition("domain")[0] + "worker"


class Verdict(NamedTuple):
    """What becomes of a task whose attempt raised."""

    to: TaskStatus
    delay_s: float | None = None  # until the next attempt, where there is one
    counts: bool = True  # whether the attempt is used up
    error: ErrorInfo | None = None
    reason: str = ""


def judge(error: BaseException, *, attempt: int, max_attempts: int, backoff: Backoff, rng: Random) -> Verdict:
    """Decide what follows when attempt `attempt` (the first is 1) of `max_attempts` raised `error`."""
    if isinstance(error, Snooze):
        return Verdict(TaskStatus.SCHEDULED, bounded_s(error.delay_s), counts=False, reason=storable(str(error)))
    if isinstance(error, TaskCancelled):
        return Verdict(TaskStatus.CANCELLED, reason=storable(str(error)) or "cancelled while it ran")
    info = describe(error)
    if isinstance(error, PermanentError):
        return Verdict(TaskStatus.FAILED, error=info, reason="the task raised PermanentError")
    if attempt >= max_attempts:
        return Verdict(TaskStatus.DEAD_LETTER, error=info, reason=f"attempt {attempt} of {max_attempts} failed")
    if isinstance(error, Retry) and error.delay_s is not None:
        delay_s = bounded_s(error.delay_s)
    else:
        delay_s = backoff.delay_s(attempt, rng)
    return Verdict(TaskStatus.SCHEDULED, delay_s, error=info)


def bounded_s(delay_s: float) -> float:
    """The delay that a task asked for, in seconds, as one that the calendar has room for; not a number is 0."""
    return min(max(0.0, delay_s), DELAY_S_MAX)


def after_lost_lease(attempts: int, max_attempts: int) -> TaskStatus:
    """What becomes of a task whose worker vanished: another try, or the dead letters when none is left."""
    return TaskStatus.QUEUED if attempts < max_attempts else TaskStatus.DEAD_LETTER


def describe(error: BaseException) -> ErrorInfo:
    """The exception as text, chained exceptions included, cut to its bounds in the middle."""
    kind = type(error)
    name = kind.__qualname__ if _needs_no_module(kind.__module__) else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - an exception whose __str__ raises must not take the worker with it
        message = f"<no message: its __str__ raised {type(broken).__name__}>"
    text, trace = storable(message or name), storable(_traceback(error))
    return ErrorInfo(name, _cut(text, ERROR_CHARS_MAX), _cut(trace, TRACEBACK_CHARS_MAX))


def storable(text: str) -> str:
    """`text` without halves of surrogate pairs (a file name that is not UTF-8 has them): no store takes those."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _needs_no_module(module: str) -> bool:
    return module in ("builtins", "__main__", "__mp_main__") or module.startswith("prismq.")


def _traceback(error: BaseException) -> str:
    try:
        told: traceback.TracebackException | None = traceback.TracebackException.from_exception(error)
        text = told
        while told is not None:
            _leave_out_our_frames(told.stack)
            told = told.__cause__ or told.__context__
        return "".join(text.format()) if text else ""
    except Exception as broken:  # noqa: BLE001 - it runs the user's __repr__ and __str__
        return f"<no traceback: formatting it raised {type(broken).__name__}>"


def _leave_out_our_frames(stack: traceback.StackSummary) -> None:
    """How the worker came to call the handler tells its author nothing."""
    ours = 0
    while ours < len(stack) - 1 and stack[ours].filename.startswith(_WORKER_FILES):
        ours += 1
    del stack[:ours]


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = (limit - 40) // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters cut …\n{text[-half:]}"
