"""What every runner does around a handler: open the gate, call, judge how it ended, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from prismq.clock import Clock
from prismq.domain.backoff import Backoff
from prismq.domain.errors import InvalidArgument, PermanentError, TaskCancelled, TaskTimeout
from prismq.domain.handler import Handler
from prismq.domain.lease import ErrorInfo, Lease, Settlement
from prismq.domain.outcome import Verdict, bounded_s, describe, judge
from prismq.domain.redaction import Redactor
from prismq.domain.status import TaskStatus
from prismq.storage.contract import WorkStore
from prismq.worker.attempt import Attempt, Ending
from prismq.worker.context import TaskContext
from prismq.worker.journal import Journal
from prismq.worker.options import CaptureOptions

Around = Callable[[TaskContext], AbstractContextManager[Any]]


class AttemptTrace(Protocol):
    """The span of one attempt, which is open and current in the calling thread or coroutine."""

    @property
    def fields(self) -> dict[str, Any]:
        """`trace_id` and `span_id`, for log lines; nothing where there is no trace."""
        ...

    @property
    def carrier(self) -> dict[str, str]:
        """The headers with which another process can go on with the trace."""
        ...

    def add(self, spans: str) -> None:
        """Take in spans of the attempt from another process, as `end` gave them there."""
        ...

    def end(self, ending: Ending | None) -> tuple[str, str] | None:
        """Close it; the trace's id and its spans as JSON, to be kept with the task. Never raises."""
        ...


class Tracing(Protocol):
    """What makes spans of attempts."""

    def execute(self, lease: Lease) -> AttemptTrace | None:
        """Begin the span of an attempt; None where there is nothing to trace. Never raises."""
        ...

    def go_on(self, carrier: dict[str, str]) -> AttemptTrace | None:
        """Go on with an attempt's trace in a process of its own. Never raises."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Send what is to be sent, within that time. Never raises."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a runner needs of the worker it belongs to."""

    store: WorkStore
    journal: Journal
    clock: Clock
    rng: Random
    around: Sequence[Around] = ()
    attempts_cap: int | None = None
    tracing: Tracing | None = None
    capture: CaptureOptions = field(default=CaptureOptions(None))
    redactor: Redactor = field(default=Redactor())


class InProcessReporter:
    """A task's words, when it runs in the worker's own process."""

    def __init__(self, attempt: Attempt, surroundings: Surroundings) -> None:
        self._attempt = attempt
        self._around = surroundings

    @property
    def redactor(self) -> Redactor:
        """See Reporter.redactor."""
        return self._around.redactor

    @property
    def capture(self) -> CaptureOptions:
        """See Reporter.capture."""
        return self._around.capture

    def takes(self, level: str) -> bool:
        """See Reporter.takes."""
        return self._around.journal.takes(self._attempt, level)

    def bind(self, fields: dict[str, Any]) -> None:
        """See Reporter.bind."""
        self._around.journal.bind(self._attempt, fields)

    def log(self, level: str, message: str, details: str | None) -> None:
        """See Reporter.log."""
        self._around.journal.log(self._attempt, self._around.clock.now(), level, message, details)

    def progress(self, text: str) -> None:
        """See Reporter.progress."""
        self._around.journal.progress(self._attempt, text)

    def stop_requested(self) -> bool:
        """See Reporter.stop_requested."""
        return self._attempt.stop_why is not None

    @contextmanager
    def transaction(self, connection: Any = None) -> Iterator[Any]:
        """See TaskContext.transaction."""
        attempt, store, clock = self._attempt, self._around.store, self._around.clock
        if connection is not None:
            yield connection
            # Said before it is written: from then on the caller may commit at any moment.
            self._around.journal.offered(attempt)
            store.complete_within(connection, completion_of(attempt, clock.now()))
            return
        with store.own_transaction() as own:
            yield own
            store.complete_within(own, completion_of(attempt, clock.now()))
        attempt.completed_within = True


def completion_of(attempt: Attempt, at: float) -> Settlement:
    """The word that an attempt has completed, for its own transaction."""
    return Settlement(attempt.lease, attempt.was, TaskStatus.COMPLETED, at, started_at=attempt.started_at)


def handler_of(attempt: Attempt) -> Handler:
    """The attempt's handler. Attempts without one never reach a runner."""
    if attempt.handler is None:
        raise LookupError(f"task {attempt.lease.task_id} has no handler")
    return attempt.handler


def decode(attempt: Attempt) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The handler's arguments. Raises PermanentError where the payload does not fit: another try cannot help."""
    try:
        return handler_of(attempt).arguments.decode(attempt.lease.payload)
    except InvalidArgument as error:
        raise PermanentError(str(error)) from error


def begin_trace(attempt: Attempt, surroundings: Surroundings) -> AttemptTrace | None:
    """The attempt's span, where there is tracing; its ids go with what is reported of the attempt."""
    tracing = surroundings.tracing
    trace = None if tracing is None else tracing.execute(attempt.lease)
    if trace is not None and trace.fields:
        surroundings.journal.bind(attempt, trace.fields)
    return trace


def end_trace(trace: AttemptTrace, ending: Ending | None, attempt: Attempt, surroundings: Surroundings) -> None:
    """Close the span; what is kept of it goes with the attempt's end."""
    spans = trace.end(ending)
    if spans is not None:
        surroundings.journal.spans(attempt, *spans)


@contextmanager
def surrounded(context: TaskContext, around: Sequence[Around]) -> Iterator[None]:
    """The middleware round a handler, first one outermost."""
    with ExitStack() as stack:
        for layer in around:
            stack.enter_context(layer(context))
        yield


def completed(attempt: Attempt, value: Any, surroundings: Surroundings) -> Ending:
    """The ending of a handler that returned `value`."""
    at = surroundings.clock.now()
    try:
        result = handler_of(attempt).arguments.encode_result(value)
    except InvalidArgument as error:
        return failed(attempt, PermanentError(str(error)), surroundings)
    if attempt.completed_within or attempt.offered:
        surroundings.journal.result(attempt, result)
    return Ending(attempt, TaskStatus.COMPLETED, at, result=result)


def failed(attempt: Attempt, error: BaseException, surroundings: Surroundings) -> Ending:
    """The ending of a handler that raised `error`."""
    at = surroundings.clock.now()
    lease = attempt.lease
    if attempt.completed_within:
        surroundings.journal.result(attempt, None)
        surroundings.journal.log(
            attempt, at, "WARNING", f"raised after its own transaction had completed it: {error!r}", None
        )
        return Ending(attempt, TaskStatus.COMPLETED, at)
    try:
        verdict = judge_for(attempt, error, surroundings)
    except BaseException as broken:  # noqa: BLE001 - it runs code of the exception; the task must not be held for ever
        info = ErrorInfo(type(error).__qualname__, f"judging it raised {type(broken).__qualname__}", "")
        verdict = Verdict(TaskStatus.DEAD_LETTER, error=info)
        if lease.attempt < lease.max_attempts:
            verdict = Verdict(TaskStatus.SCHEDULED, 60.0, error=info)
    return Ending(
        attempt,
        verdict.to,
        at,
        error=verdict.error,
        delay_s=verdict.delay_s,
        counts=verdict.counts,
        reason=verdict.reason or f"attempt {lease.attempt} of {lease.max_attempts} failed",
    )


def judge_for(attempt: Attempt, error: BaseException, surroundings: Surroundings) -> Verdict:
    """What follows, given what the attempt was told: a stop that was asked for goes before what was raised."""
    lease, why = attempt.lease, attempt.stop_why
    if why == "cancel" and not isinstance(error, PermanentError):
        return Verdict(
            TaskStatus.CANCELLED, reason=f"cancelled while it ran: {attempt.transport or 'it stopped itself'}"
        )
    if why == "shutdown":
        return Verdict(TaskStatus.QUEUED, counts=False, reason="given back: the worker shut down before it ended")
    if why == "timeout":
        cause = None if isinstance(error, TaskTimeout) else error
        error = TaskTimeout(_timed_out(attempt)).with_traceback(error.__traceback__)
        error.__cause__ = cause
    elif isinstance(error, TaskCancelled):
        error = RuntimeError("the task raised TaskCancelled although nobody cancelled it")
    backoff, own = _backoff_of(lease, handler_of(attempt))
    cap = surroundings.attempts_cap
    max_attempts = lease.max_attempts if cap is None else min(cap, lease.max_attempts)
    verdict = judge(error, attempt=lease.attempt, max_attempts=max_attempts, backoff=backoff, rng=surroundings.rng)
    if (
        own is not None
        and verdict.to is TaskStatus.SCHEDULED
        and verdict.counts
        and getattr(error, "delay_s", None) is None
    ):
        try:
            verdict = verdict._replace(delay_s=bounded_s(float(own(lease.attempt))))
        except Exception as broken:  # noqa: BLE001 - the user's backoff function must not lose the task
            note = describe(broken)
            verdict = verdict._replace(reason=f"its backoff function raised {note.type}: {note.message}")
    return verdict


def _timed_out(attempt: Attempt) -> str:
    how = f" ({attempt.transport})" if attempt.transport else ""
    return f"ran longer than its timeout of {attempt.timeout_s:g} s{how}"


def _backoff_of(lease: Lease, handler: Handler) -> tuple[Backoff, Callable[[int], float] | None]:
    if lease.backoff:
        return Backoff.from_json(lease.backoff), None
    return handler.backoff, handler.delay_of
