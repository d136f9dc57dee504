"""Spans by OpenTelemetry. Imported by `app.telemetry.tracing.make_tracer` only, where tracing is on.

The SDK also reads its own variables (`OTEL_EXPORTER_OTLP_HEADERS` for a collector that wants a key,
`OTEL_RESOURCE_ATTRIBUTES` for what all spans carry).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from app.telemetry.tracing import Attribute, Kind, Span, TraceContext, span_attributes

SEND_TIMEOUT_S = 5.0
"""How long a collector may take; spans that it does not take are dropped, never waited for."""

_KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}


def otlp_processor(endpoint: str) -> SpanProcessor:
    """Sends spans to a collector from a thread of its own, in batches."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=SEND_TIMEOUT_S))


class OtelSpan:
    """A span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self.inner = span

    @property
    def context(self) -> TraceContext | None:
        """What to hand on as a parent."""
        return _own(self.inner.get_span_context())

    def set(self, **attributes: Attribute) -> None:
        """Adds what is known only now."""
        self.inner.set_attributes(span_attributes(attributes))

    def fail(self, reason: str) -> None:
        """Marks it as failed."""
        self.inner.set_status(trace.Status(trace.StatusCode.ERROR, reason))
        self.inner.set_attribute("error.type", reason)

    def end(self) -> None:
        """It is over."""
        if self.inner.is_recording():
            self.inner.end()


class OtelTracer:
    """Records spans on a provider of its own (the SDK's global one is left alone).

    Args:
        processor: gets every finished span that is sampled.
        sample_ratio: share of traces that are recorded, 0 to 1.
        service_name: what the spans say they come from.
    """

    def __init__(
        self, processor: SpanProcessor, *, sample_ratio: float = 1.0, service_name: str = "kowairo"
    ) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({"service.name": service_name}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("kowairo")

    def begin(
        self,
        name: str,
        *,
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
        kind: Kind = "internal",
        started_at: float | None = None,
        **attributes: Attribute,
    ) -> OtelSpan:
        """A span that whoever begins it ends."""
        return OtelSpan(
            self._tracer.start_span(
                str(name),
                context=None if parent is None else _within(parent),
                kind=_KINDS[kind],
                attributes=span_attributes(attributes),
                links=[trace.Link(_theirs(link)) for link in links],
                start_time=None if started_at is None else round(started_at * 1e9),
                record_exception=False,
                set_status_on_exception=False,
            )
        )

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
        kind: Kind = "internal",
        started_at: float | None = None,
        **attributes: Attribute,
    ) -> Iterator[Span]:
        """A span around a block of code. Of an exception only the type is told: its message may quote input."""
        span = self.begin(name, parent=parent, links=links, kind=kind, started_at=started_at, **attributes)
        try:
            with trace.use_span(
                span.inner, end_on_exit=False, record_exception=False, set_status_on_exception=False
            ):
                yield span
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()

    def inject(self) -> str:
        """The span around this code as `traceparent` text."""
        context = _own(trace.get_current_span().get_span_context())
        return "" if context is None else str(context)

    def close(self) -> None:
        """Sends what waits and stops the processor's thread."""
        self._provider.shutdown()


def _own(context: trace.SpanContext) -> TraceContext | None:
    if not context.is_valid:
        return None
    return TraceContext(context.trace_id, context.span_id, context.trace_flags.sampled)


def _theirs(context: TraceContext) -> trace.SpanContext:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if context.sampled else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=flags)


def _within(parent: TraceContext) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(_theirs(parent)), Context())
