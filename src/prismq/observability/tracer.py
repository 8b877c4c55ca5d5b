"""Where spans go: the program's own OpenTelemetry where it has set one up, else one that sends them by OTLP."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from prismq.observability.kept_spans import keep_spans_of
from prismq.version import __version__

_SERVICE = "task-queue"
_EXIT_FLUSH_S = 3.0
_making = threading.Lock()


@dataclass(frozen=True)
class TracingOptions:
    """See the settings tracing_*; None leaves it to the standard OTEL_* variables."""

    endpoint: str | None = None
    sample_rate: float | None = None
    exporters: tuple[str, ...] = ("otlp",)
    keep_spans: bool = True


class LinkedSampler(Sampler):
    """Decides for what is linked to one trace alone as was decided there: a task's attempts are recorded with its
    enqueue, or not at all. Everything else is left to `otherwise`."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    @property
    def heeds_parent(self) -> bool:
        """Whether what is not recorded at its beginning is not recorded later."""
        return isinstance(self._otherwise, ParentBased)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See Sampler."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if not parent.is_valid and links and len(links) == 1 and links[0].context.is_remote:
            sampled = links[0].context.trace_flags.sampled
            return SamplingResult(Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP, attributes)
        return self._otherwise.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """See Sampler."""
        return f"prismq.LinkedSampler({self._otherwise.get_description()})"


class OurTracer(NamedTuple):
    """`heeds_parent`: what comes from a trace that is not recorded is surely not recorded either."""

    tracer: trace.Tracer
    heeds_parent: bool


def tracer_for(options: TracingOptions) -> OurTracer:
    """The tracer of the program's provider, which is made here where the program has none.

    The first queue of a process that traces decides; the provider becomes the program's, so that spans that its
    own code makes in tasks join in.
    """
    with _making:
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            provider = _make(options)
            trace.set_tracer_provider(provider)
        if options.keep_spans and isinstance(provider, TracerProvider):
            keep_spans_of(provider)
        sampler = getattr(provider, "sampler", None)
        return OurTracer(
            provider.get_tracer("prismq", __version__), isinstance(sampler, LinkedSampler) and sampler.heeds_parent
        )


def _make(options: TracingOptions) -> TracerProvider:
    rate = options.sample_rate
    provider = TracerProvider(
        sampler=None if rate is None else ParentBased(TraceIdRatioBased(rate)),
        resource=_resource(),
        # At the end of the program it would wait half a minute for a collector that is away.
        shutdown_on_exit=False,
    )
    provider.sampler = LinkedSampler(provider.sampler)
    for name in options.exporters:
        exporter = _exporter(name, options.endpoint)
        if exporter is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    atexit.register(flush, provider, _EXIT_FLUSH_S)
    return provider


def _resource() -> Resource:
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before our name.
    said = OTELResourceDetector().detect().attributes
    return Resource.create({} if "service.name" in said else {"service.name": _SERVICE})


def _exporter(name: str, endpoint: str | None) -> SpanExporter | None:
    if name == "console":
        return ConsoleSpanExporter()
    if name == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        if endpoint is None:
            return OTLPSpanExporter()
        address = endpoint.rstrip("/")
        return OTLPSpanExporter(endpoint=address if address.endswith("/v1/traces") else f"{address}/v1/traces")
    return None


def flush(provider: trace.TracerProvider, timeout_s: float) -> None:
    """Send what is to be sent, waiting no longer than that. The SDK's own flush waits for as long as it takes."""
    if isinstance(provider, TracerProvider):
        thread = threading.Thread(target=provider.force_flush, name="prismq-spans", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down: no threads any more
            provider.force_flush()
            return
        thread.join(timeout_s)
