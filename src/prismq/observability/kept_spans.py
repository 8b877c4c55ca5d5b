"""A compact copy of an attempt's spans, to be kept with the task: a waterfall needs no collector then."""

from __future__ import annotations

from itertools import islice
from typing import Any
from weakref import WeakSet

from opentelemetry import context as contexts
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode, format_span_id
from pydantic_core import to_json

from prismq.domain.limits import SPAN_ATTRIBUTES_MAX, SPAN_TEXT_CHARS_MAX, SPANS_PER_ATTEMPT_MAX
from prismq.domain.outcome import storable
from prismq.domain.redaction import Redactor
from prismq.domain.task import json_list

_KEY = contexts.create_key("prismq-kept-spans")
_STATUS = {StatusCode.OK: "ok", StatusCode.ERROR: "error", StatusCode.UNSET: "unset"}


class KeptSpans:
    """What one attempt's spans were, as far as they ended before it did; at most SPANS_PER_ATTEMPT_MAX."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._entries: list[dict[str, Any]] = []
        self._dropped = 0
        self.open: set[int] = set()

    def within(self, context: contexts.Context) -> contexts.Context:
        """A context whose spans are kept here."""
        return contexts.set_value(_KEY, self, context)

    def add(self, span: ReadableSpan) -> None:
        """Keep a span that has ended."""
        self._append(_compact(span, self._redactor))

    def extend(self, text: str) -> None:
        """Keep what `close` gave in another process."""
        for entry in json_list(text):
            self._append(entry)

    def _append(self, entry: dict[str, Any]) -> None:
        # One place is for the attempt's own span, which ends last.
        if len(self._entries) < SPANS_PER_ATTEMPT_MAX - 1:
            self._entries.append(entry)
        else:
            self._dropped += 1

    def close(self, last: ReadableSpan | None = None) -> str | None:
        """All of them as JSON, `last` included; None where there are none. Spans that end later are not kept."""
        for span_id in self.open:
            _collected_by.pop(span_id, None)
        if last is not None:
            entry = _compact(last, self._redactor, _TELLING)
            if self._dropped:
                entry["attributes"] = {**entry.get("attributes", {}), "prismq.spans_dropped": self._dropped}
            self._entries.append(entry)
        return to_json(self._entries).decode() if self._entries else None


# By span, while it is open. Not on the span itself: what a processor is told of at the end is another object.
_collected_by: dict[int, KeptSpans] = {}


class _Keeper(SpanProcessor):
    """Has the spans of attempts kept, whoever makes them."""

    def on_start(self, span: Span, parent_context: contexts.Context | None = None) -> None:
        kept = contexts.get_value(_KEY, parent_context)
        if isinstance(kept, KeptSpans) and span.context is not None:
            kept.open.add(span.context.span_id)
            _collected_by[span.context.span_id] = kept

    def on_end(self, span: ReadableSpan) -> None:
        kept = None if span.context is None else _collected_by.pop(span.context.span_id, None)
        if kept is not None and span.context is not None:
            kept.open.discard(span.context.span_id)
            kept.add(span)


_keeping: WeakSet[TracerProvider] = WeakSet()


def keep_spans_of(provider: TracerProvider) -> None:
    """Have this provider's spans kept, where they belong to an attempt."""
    if provider not in _keeping:
        _keeping.add(provider)
        provider.add_span_processor(_Keeper())


# Of the attempt's own span: the others are what the task's row says.
_TELLING = ("task.status", "duration_ms", "worker.id", "error.type")


def _compact(span: ReadableSpan, redactor: Redactor, only: tuple[str, ...] | None = None) -> dict[str, Any]:
    context, start, end = span.context, span.start_time or 0, span.end_time or span.start_time or 0
    entry: dict[str, Any] = {
        "id": format_span_id(context.span_id) if context is not None else "",
        "name": _text(span.name),
        "start": round(start / 1e9, 6),
        "duration_s": round(max(0, end - start) / 1e9, 6),
        "status": _STATUS[span.status.status_code],
    }
    if span.parent is not None:
        entry["parent"] = format_span_id(span.parent.span_id)
    attributes = span.attributes or {}
    if only is not None:
        entry["attributes"] = {key: _plain(attributes[key]) for key in only if key in attributes}
    elif attributes:
        some = islice(attributes.items(), SPAN_ATTRIBUTES_MAX)
        entry["attributes"] = redactor.redact({key: _plain(value) for key, value in some})
    return entry


def _plain(value: object) -> Any:
    return value if isinstance(value, (bool, int, float)) else _text(str(value))


def _text(text: str) -> str:
    # A null character has no place in PostgreSQL's JSON.
    return storable(text[:SPAN_TEXT_CHARS_MAX]).replace("\0", "")
