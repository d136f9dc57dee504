"""A call is one trace, from its socket to its records in the store, and nothing in it tells whose call it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.engine import TracedScorer
from app.inference.scorer import Scorer
from app.main import build_services
from app.settings import Settings
from app.telemetry.tracing import Stage, opaque_call_id
from tests.support.service import server
from tests.support.streams import customer_audio, of_type, play

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.telemetry.otel import OtelTracer


def spans_of(plain: Settings, **fields: object) -> tuple[list[ReadableSpan], bytes]:
    """The spans of one call, and the salt of its name in them."""
    exporter = InMemorySpanExporter()
    tracer = OtelTracer(SimpleSpanProcessor(exporter))
    services = build_services(plain)
    parts = services.engine.parts
    assert isinstance(parts.scorer, TracedScorer)
    scorer = parts.scorer._scorer
    assert isinstance(scorer, Scorer)
    engine = replace(services.engine, parts=replace(parts, scorer=TracedScorer(scorer, tracer)))
    services = replace(services, tracer=tracer, engine=engine)
    with server(plain, services) as live:
        assert len(of_type(play(live.stream_url, customer_audio(6.5), **fields), "utterance")) == 1
    return list(exporter.get_finished_spans()), services.trace_salt


def test_a_call_is_one_trace(plain: Settings) -> None:
    """Encoder and store lie within the call, though they work in other threads; the call is named opaquely."""
    spans, salt = spans_of(plain, call_id="needle-call", line="needle-line", metadata={"name": "needle-ann"})
    by_name = {span.name: span for span in spans}
    assert {Stage.INGEST, Stage.UTTERANCE, Stage.ENCODER, Stage.STORE} <= by_name.keys()
    root = by_name[Stage.INGEST]
    within = [by_name[name] for name in (Stage.UTTERANCE, Stage.ENCODER)]
    assert {span.context.trace_id for span in within} == {root.context.trace_id}
    assert [span.parent.span_id for span in within if span.parent] == [root.context.span_id] * 2
    stored = [span for span in spans if span.name == Stage.STORE and span.parent is not None]
    assert by_name[Stage.UTTERANCE].context.span_id in {span.parent.span_id for span in stored if span.parent}
    assert root.attributes is not None
    assert root.attributes["kowairo.call"] == opaque_call_id("default", "needle-call", salt)
    assert "needle" not in " ".join(span.to_json() for span in spans)
