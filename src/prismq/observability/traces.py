"""Events and attempts as OpenTelemetry spans: `task:submit` where a task is enqueued, `task:execute` where it runs.

Only imported where tracing is on. The trace travels in the task's headers, in the W3C form (traceparent, tracestate,
baggage). An attempt is a child of the enqueue where it follows at once; where time lies between them, or many tasks
came with one enqueue, it is a trace of its own, with a link. Attributes are those of OpenTelemetry's conventions for
messaging (opentelemetry.io/docs/specs/semconv/messaging) beside our own.

Whatever goes wrong here is told of once, and never fails an enqueue or a task.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from prismq.domain import events as ev
from prismq.domain.events import Event
from prismq.domain.lease import ErrorInfo, Lease
from prismq.domain.redaction import Redactor
from prismq.domain.status import TaskStatus
from prismq.domain.task import Enqueued, NewTask, json_object
from prismq.observability.kept_spans import KeptSpans
from prismq.observability.tracer import OurTracer, TracingOptions, flush, tracer_for
from prismq.worker.attempt import Ending
from prismq.worker.runners.base import AttemptTrace

LINK_HEADER = "prismq.link"  # why an attempt is linked to its enqueue and not a child of it
# Version 00 and not sampled, w3.org/TR/trace-context; anything else goes the usual way.
_TRACEPARENT = re.compile(r'"traceparent": ?"00-([0-9a-f]{32})-([0-9a-f]{16})-0[02]"')
_SAMPLED = re.compile(r"00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-0([013])")
_NOTHING = contexts.Context()
_STOP_FLUSH_S = 3.0
T = TypeVar("T")
_FAILED = (TaskStatus.FAILED, TaskStatus.DEAD_LETTER)
_OF_WORKERS: dict[type[Event], str] = {
    ev.WorkerRegistered: "worker:register",
    ev.WorkerHeartbeatSent: "worker:heartbeat",
    ev.WorkerStopped: "worker:deregister",
}


class Tracing:
    """Makes the spans. It is a listener for those of workers; the sender and the runners call it for the others."""

    def __init__(self, options: TracingOptions, redactor: Redactor) -> None:
        self._options = options
        self.redactor = redactor
        self._tracer: OurTracer | None = None
        self._told: set[type] = set()
        self._hostname = socket.gethostname()
        self._guard = threading.Lock()

    @property
    def tracer(self) -> trace.Tracer:
        """Made when it is first used, so that a program may set up its own OpenTelemetry before."""
        return self._ours().tracer

    def _ours(self) -> OurTracer:
        if self._tracer is None:
            self._tracer = tracer_for(self._options)
        return self._tracer

    @property
    def keeps_spans(self) -> bool:
        """Whether a copy of an attempt's spans is kept with the task."""
        return self._options.keep_spans

    # -- enqueues

    @contextmanager
    def submit(
        self, news: Sequence[NewTask], *, now: float, schedule: str | None = None
    ) -> Iterator[Callable[[list[Enqueued]], None]]:
        """See prismq.client.sender.SendTracing."""
        submission = self.safely(lambda: _Submission(self.tracer, news, now, schedule))
        if submission is None:
            yield lambda done: None
            return
        try:
            yield lambda done: self.safely(lambda: submission.told(done))
        except BaseException as error:
            described = ErrorInfo(type(error).__qualname__, str(error), "")
            self.safely(lambda: _fail(submission.span, described))
            raise
        finally:
            self.safely(submission.close)

    # -- attempts

    def execute(self, lease: Lease) -> AttemptTrace | None:
        """See prismq.worker.runners.base.Tracing."""
        return self.safely(lambda: self._unrecorded(lease) or Execution(self, lease))

    def _unrecorded(self, lease: Lease) -> Unrecorded | None:
        ours = self._ours()
        if lease.headers is None or not ours.heeds_parent:
            return None
        found = _TRACEPARENT.search(lease.headers)
        if found is None or "tracestate" in lease.headers or "baggage" in lease.headers:
            return None
        origin = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True)
        return Unrecorded(origin) if origin.is_valid else None

    def go_on(self, carrier: dict[str, str]) -> AttemptTrace | None:
        """See prismq.worker.runners.base.Tracing."""
        return self.safely(lambda: Continuation(self, carrier))

    def flush(self, timeout_s: float) -> None:
        """See prismq.worker.runners.base.Tracing."""
        if self._tracer is not None:
            self.safely(lambda: flush(trace.get_tracer_provider(), timeout_s))

    # -- workers

    def wants(self, kind: type[Event]) -> bool:
        """Whether it listens to such events."""
        return kind in _OF_WORKERS

    def __call__(self, event: Event) -> None:
        """Make a span of what a worker did. It has no length: it tells that it was done, and when."""
        attributes: dict[str, Any]
        if isinstance(event, ev.WorkerRegistered):
            attributes = {"worker.status": "active", "worker.capacity": event.slots}
        elif isinstance(event, ev.WorkerHeartbeatSent):
            attributes = {
                "worker.status": event.status,
                "worker.capacity": event.slots,
                "worker.current_load": event.busy,
            }
        elif isinstance(event, ev.WorkerStopped):
            attributes = {"worker.status": "stopped"}
        else:
            return
        attributes |= {"worker.id": event.worker_id, "worker.hostname": self._hostname}
        self.tracer.start_span(_OF_WORKERS[type(event)], context=contexts.Context(), attributes=attributes).end()
        if isinstance(event, ev.WorkerStopped):
            self.flush(_STOP_FLUSH_S)

    def safely(self, make: Callable[[], T]) -> T | None:
        """What it makes; None, told of once for each kind of fault, where it cannot."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - whatever the SDK or a processor of the user's does
            with self._guard:
                first = type(error) not in self._told
                self._told.add(type(error))
            if first:
                logging.getLogger("prismq.queue").warning(
                    "a span could not be made (%r); told once, and the work goes on without it", error
                )
            return None


class _Submission:
    """The span of one enqueue, current until it is closed. The tasks carry it away in their headers."""

    def __init__(self, tracer: trace.Tracer, news: Sequence[NewTask], now: float, schedule: str | None) -> None:
        first = news[0]
        parent = contexts.get_current()
        if not trace.get_current_span(parent).get_span_context().is_valid and "traceparent" in first.headers:
            parent = propagate.extract(first.headers)  # the caller passes on a trace from elsewhere
        self._news = news
        self._headers = [new.headers for new in news]
        self._pointless = False
        self.span = tracer.start_span(
            "task:submit", context=parent, kind=SpanKind.PRODUCER, attributes=_of_submission(news, schedule)
        )
        current = trace.set_span_in_context(self.span, parent)
        self._token = contexts.attach(current)
        carrier: dict[str, str] = {}
        propagate.inject(carrier, current)
        batch = len(news) > 1
        for new in news if carrier else ():
            link = "batch" if batch else "delayed" if new.run_at is not None and new.run_at > now else None
            new.headers = {**new.headers, **carrier, **({LINK_HEADER: link} if link else {})}

    def told(self, done: list[Enqueued]) -> None:
        """What became of it; nothing at all where another process was there first."""
        self._pointless = not done
        if len(done) == 1 and len(self._news) == 1:
            self.span.set_attribute("task.id", done[0].task_id)
            self.span.set_attribute("messaging.message.id", str(done[0].task_id))
            if not done[0].created:
                self.span.set_attribute("task.created", False)

    def close(self) -> None:
        """End it."""
        contexts.detach(self._token)
        # What was prepared can be enqueued once more, as another message.
        for new, headers in zip(self._news, self._headers, strict=True):
            new.headers = headers
        if not self._pointless:
            self.span.end()


class Unrecorded:
    """The attempt of a task whose trace is not recorded: most are, where a part is sampled, so this costs little.

    Current all the same, so that nothing inside begins a trace of its own, and what it enqueues belongs to the same.
    """

    __slots__ = ("_origin", "_token")

    def __init__(self, origin: SpanContext) -> None:
        self._origin = origin
        self._token = contexts.attach(trace.set_span_in_context(NonRecordingSpan(origin), _NOTHING))

    @property
    def fields(self) -> dict[str, Any]:
        """See AttemptTrace. The ids of a trace that nobody has lead nowhere."""
        return {}

    @property
    def carrier(self) -> dict[str, str]:
        """See AttemptTrace."""
        ids = _ids_of(NonRecordingSpan(self._origin))
        return {"traceparent": f"00-{ids['trace_id']}-{ids['span_id']}-00"}

    def add(self, spans: str) -> None:
        """See AttemptTrace."""

    def end(self, ending: Ending | None) -> tuple[str, str] | None:
        """See AttemptTrace."""
        contexts.detach(self._token)
        return None


class Execution:
    """See prismq.worker.runners.base.AttemptTrace: the span of one attempt."""

    def __init__(self, tracing: Tracing, lease: Lease) -> None:
        headers = {key: value for key, value in json_object(lease.headers).items() if isinstance(value, str)}
        context = _context_of(headers)
        origin = trace.get_current_span(context).get_span_context()
        reason = _why_linked(lease, headers)
        links = []
        if origin.is_valid and reason is not None:
            links.append(Link(origin, {LINK_HEADER: reason}))
            context = trace.set_span_in_context(trace.INVALID_SPAN, context)  # baggage comes along all the same
        self._kept = KeptSpans(tracing.redactor) if tracing.keeps_spans else None
        within = context if self._kept is None else self._kept.within(context)
        self._tracing = tracing
        self._lease = lease
        # Its own span is kept by hand, as the last: it is to be there whatever else there is.
        self._span = tracing.tracer.start_span(
            "task:execute", context=context, kind=SpanKind.CONSUMER, attributes=_of_attempt(lease), links=links
        )
        self._token = contexts.attach(trace.set_span_in_context(self._span, within))

    @property
    def fields(self) -> dict[str, Any]:
        """See AttemptTrace."""
        return _ids_of(self._span)

    @property
    def carrier(self) -> dict[str, str]:
        """See AttemptTrace."""
        carrier: dict[str, str] = {}
        self._tracing.safely(lambda: propagate.inject(carrier))
        return carrier

    def add(self, spans: str) -> None:
        """See AttemptTrace."""
        if self._kept is not None:
            self._kept.extend(spans)

    def end(self, ending: Ending | None) -> tuple[str, str] | None:
        """See AttemptTrace."""
        return self._tracing.safely(lambda: self._end(ending))

    def _end(self, ending: Ending | None) -> tuple[str, str] | None:
        contexts.detach(self._token)
        span = self._span
        if ending is None:
            span.set_status(Status(StatusCode.ERROR, "the attempt has no ending"))
        else:
            span.set_attribute("task.status", ending.to.value.upper())
            started = ending.attempt.started_at
            if started is not None:
                span.set_attribute("duration_ms", round(max(0.0, ending.at - started) * 1000, 3))
            if ending.error is not None:
                _fail(span, ending.error)
            elif ending.to in _FAILED:
                span.set_status(Status(StatusCode.ERROR, ending.reason))
        span.end()
        last = span if isinstance(span, ReadableSpan) else None
        text = None if self._kept is None else self._kept.close(last)
        return None if text is None else (_ids_of(span)["trace_id"], text)


def _context_of(headers: Mapping[str, str]) -> contexts.Context:
    """The context that came with a task. The form that nearly all have is read here: the propagators take longer than
    all the rest of an attempt's span."""
    if not headers:
        return contexts.Context()
    found = _SAMPLED.fullmatch(headers.get("traceparent", "")) if len(headers) == 1 else None
    if found is None:
        return propagate.extract(headers, contexts.Context())
    origin = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3])))
    return trace.set_span_in_context(NonRecordingSpan(origin), _NOTHING)


class Continuation:
    """See prismq.worker.runners.base.AttemptTrace: the same trace in a process of the task's own."""

    fields: dict[str, Any] = {}  # noqa: RUF012 - never written; the attempt's own process has them
    carrier: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, tracing: Tracing, carrier: Mapping[str, str]) -> None:
        self._tracing = tracing
        _ = tracing.tracer  # spans of the task's own code want a provider
        context = propagate.extract(carrier, contexts.Context())
        self._trace_id = _ids_of(trace.get_current_span(context)).get("trace_id", "")
        self._kept = KeptSpans(tracing.redactor) if tracing.keeps_spans else None
        self._token = contexts.attach(context if self._kept is None else self._kept.within(context))

    def add(self, spans: str) -> None:
        """See AttemptTrace."""

    def end(self, ending: Ending | None) -> tuple[str, str] | None:
        """See AttemptTrace."""
        return self._tracing.safely(self._end)

    def _end(self) -> tuple[str, str] | None:
        contexts.detach(self._token)
        text = None if self._kept is None else self._kept.close()
        return None if text is None else (self._trace_id, text)


def _why_linked(lease: Lease, headers: Mapping[str, str]) -> str | None:
    """Why an attempt is not a child of its enqueue; None where it is: the first claim of a task that was enqueued
    alone, to run at once."""
    if lease.schedule is not None:
        return "periodic"
    if lease.fencing_token > 1:
        return "retried"
    return headers.get(LINK_HEADER)


def _of_submission(news: Sequence[NewTask], schedule: str | None) -> dict[str, Any]:
    first = news[0]
    attributes = _of_task(first.type, first.queue, first.priority, "send", "submit")
    if len(news) > 1:
        attributes["messaging.batch.message_count"] = len(news)
        for key, values in (
            ("task.name", {new.type for new in news}),
            ("queue.name", {new.queue for new in news}),
            ("task.priority", {new.priority for new in news}),
        ):
            if len(values) > 1:
                del attributes[key]
        if "queue.name" not in attributes:
            del attributes["messaging.destination.name"]
    else:
        attributes["messaging.message.body.size"] = len(first.payload.encode())
    if schedule is not None:
        attributes["task.schedule"] = schedule
    return attributes


def _of_attempt(lease: Lease) -> dict[str, Any]:
    return _of_task(lease.type, lease.queue, lease.priority, "process", "execute") | {
        "task.id": lease.task_id,
        "task.attempt": lease.attempt,
        "worker.id": lease.worker_id,
        "messaging.message.id": str(lease.task_id),
        "messaging.message.body.size": len(lease.payload.encode()),
        "messaging.client.id": lease.worker_id,
    }


def _of_task(name: str, queue: str, priority: int, kind: str, operation: str) -> dict[str, Any]:
    return {
        "task.name": name,
        "task.priority": priority,
        "queue.name": queue,
        "messaging.system": "prismq",
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
    }


def _fail(span: Span, error: ErrorInfo) -> None:
    span.set_attribute("error.type", error.type)
    span.set_status(Status(StatusCode.ERROR, f"{error.type}: {error.message}"[:1000]))
    span.add_event(
        "exception",
        {
            "exception.type": error.type,
            "exception.message": error.message,
            "exception.stacktrace": error.traceback,
        },
    )


def _ids_of(span: Span) -> dict[str, Any]:
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}
