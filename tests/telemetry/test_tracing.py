"""Traces: one call is one trace across threads and queues, nothing in it is personal, and off costs nothing."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.tracing import (
    NullTracer,
    Stage,
    TraceContext,
    TracingError,
    extract,
    make_tracer,
    opaque_call_id,
)

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.telemetry.otel import OtelTracer, otlp_processor

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector:
    """What an OpenTelemetry collector is to a sender: it takes posts and keeps them, uncompressed or not."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def stop(self) -> None:
        """Nobody listens any more. May be called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on this machine."""
    value = Collector()
    yield value
    value.stop()


class Traced:
    """A tracer whose finished spans can be looked at."""

    def __init__(self, sample_ratio: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        processor = SimpleSpanProcessor(self._exporter)
        self.tracer = OtelTracer(processor, sample_ratio=sample_ratio, service_name="kowairo-test")

    def spans(self) -> dict[str, ReadableSpan]:
        """What is finished, by name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    """A tracer that keeps its spans, closed at the end."""
    value = Traced()
    yield value
    value.tracer.close()


def parent_of(span: ReadableSpan) -> int | None:
    """The id of the span that this one is part of."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    """A finished span's own id."""
    assert span.context is not None
    return span.context.span_id


def test_one_call_is_one_trace_from_its_socket_to_the_delivery(traced: Traced) -> None:
    """Ingest → utterance, encoder and store in a worker thread → delivery from a queued payload, nested so."""
    tracer = traced.tracer

    def score(parent: TraceContext | None) -> str:
        with tracer.span(Stage.UTTERANCE, parent=parent, leg="customer"):
            with tracer.span(Stage.ENCODER):
                pass
            with tracer.span(Stage.STORE, kind="producer"):
                return tracer.inject()

    with tracer.span(Stage.INGEST, kind="server") as ingest, ThreadPoolExecutor(1) as pool:
        payload = pool.submit(score, ingest.context).result()
    with tracer.span(Stage.DELIVERY, parent=extract(payload), kind="consumer"):
        pass

    spans = traced.spans()
    assert set(spans) == {"ingest", "utterance", "encoder", "store", "delivery"}
    assert len({span.context.trace_id for span in spans.values() if span.context}) == 1
    assert parent_of(spans["ingest"]) is None
    assert parent_of(spans["utterance"]) == id_of(spans["ingest"])
    assert parent_of(spans["encoder"]) == id_of(spans["utterance"])
    assert parent_of(spans["store"]) == id_of(spans["utterance"])
    assert parent_of(spans["delivery"]) == id_of(spans["store"])
    assert spans["ingest"].kind.name == "SERVER"
    assert spans["delivery"].resource.attributes["service.name"] == "kowairo-test"


def test_tasks_keep_their_own_parents(traced: Traced) -> None:
    """Two calls in one event loop do not get into each other's traces."""

    async def call(name: str, mine: asyncio.Event, other: asyncio.Event) -> None:
        with traced.tracer.span(f"ingest-{name}"):
            mine.set()
            await other.wait()
            with traced.tracer.span(f"store-{name}"):
                pass

    async def both() -> None:
        a, b = asyncio.Event(), asyncio.Event()
        await asyncio.gather(call("a", a, b), call("b", b, a))

    asyncio.run(both())
    spans = traced.spans()
    for name in "ab":
        assert parent_of(spans[f"store-{name}"]) == id_of(spans[f"ingest-{name}"])


def test_a_span_without_a_block_ends_when_told(traced: Traced) -> None:
    """A connection is begun in one place and ended in another, once; it can be a parent in between."""
    span = traced.tracer.begin(Stage.INGEST, kind="server", started_at=1_700_000_000.5)
    span.set(outcome="completed")
    with traced.tracer.span(Stage.UTTERANCE, parent=span.context):
        pass
    span.end()
    span.end()
    spans = traced.spans()
    assert spans["ingest"].start_time == 1_700_000_000_500_000_000
    assert spans["ingest"].attributes == {"kowairo.outcome": "completed"}
    assert parent_of(spans["utterance"]) == id_of(spans["ingest"])


def test_one_encoder_run_links_to_its_utterances(traced: Traced) -> None:
    """A batch serves several traces and is part of none."""
    utterances = [traced.tracer.begin(Stage.UTTERANCE) for _ in range(2)]
    contexts = [span.context for span in utterances if span.context is not None]
    with traced.tracer.span(Stage.ENCODER, links=contexts, batch_size=2):
        pass
    encoder = traced.spans()["encoder"]
    assert [link.context.span_id for link in encoder.links] == [context.span_id for context in contexts]
    assert parent_of(encoder) is None


def test_a_fault_is_told_by_its_type_only(traced: Traced) -> None:
    """Messages of exceptions may quote input: neither status nor events hold them. It is raised on."""
    with pytest.raises(ValueError, match="555-1234"), traced.tracer.span(Stage.STORE):
        raise ValueError("the caller said 555-1234")
    span = traced.spans()["store"]
    assert not span.status.is_ok
    assert span.status.description == "ValueError"
    assert span.attributes == {"error.type": "ValueError"}
    assert span.events == ()
    assert "555" not in span.to_json()


def test_nothing_personal_is_in_a_span(traced: Traced) -> None:
    """Who called, what was scored, and what names a call or a tenant stay out; an opaque id may stand for the call."""
    call = opaque_call_id("acme", "call-555-1234", b"salt")
    with traced.tracer.span(
        Stage.UTTERANCE,
        call=call,
        leg="customer",
        seq=3,
        call_id="call-555-1234",
        utterance_id="call-555-1234.customer.0001",
        tenant="acme",
        subject="ann",
        emotion="angry",
        confidence=0.9,
        metadata="555-1234",
        api_key="secret",
    ) as span:
        span.set(phone="555-1234", durable=True)
    found = traced.spans()["utterance"]
    assert found.attributes == {
        "kowairo.call": call,
        "kowairo.leg": "customer",
        "kowairo.seq": 3,
        "kowairo.durable": True,
    }


def test_an_opaque_id_is_the_calls_own() -> None:
    """The same call has the same one; another tenant, call or salt has another. It does not show the call's id."""
    name = opaque_call_id("acme", "call-1", b"salt")
    assert re.fullmatch(r"[0-9a-f]{16}", name)
    assert opaque_call_id("acme", "call-1", b"salt") == name
    others = {
        opaque_call_id("acme", "call-2", b"salt"),
        opaque_call_id("other", "call-1", b"salt"),
        opaque_call_id("acme", "call-1", b"pepper"),
        opaque_call_id("a", "b/c", b"salt"),
        opaque_call_id("a/b", "c", b"salt"),
        name,
    }
    assert len(others) == 6


def test_a_call_is_sampled_whole_or_not_at_all() -> None:
    """What hangs on an unsampled call is not recorded either, even after a queue; a sampled one's is, at any ratio."""
    never = Traced(sample_ratio=0.0)
    with never.tracer.span(Stage.INGEST) as span:
        text = never.tracer.inject()
        assert span.context is not None
        assert not span.context.sampled
    with never.tracer.span(Stage.DELIVERY, parent=extract(text)):
        pass
    assert text.endswith("-00")
    assert never.spans() == {}
    with never.tracer.span(Stage.DELIVERY, parent=extract(TRACEPARENT)):
        pass
    assert set(never.spans()) == {"delivery"}
    never.tracer.close()


def test_outside_a_span_there_is_nothing_to_hand_on(traced: Traced) -> None:
    """An empty text is a payload without a trace."""
    assert traced.tracer.inject() == ""
    assert extract("") is None


def test_traceparent_text_is_read_and_written() -> None:
    """The W3C form, both ways; a later version may say more."""
    context = extract(TRACEPARENT)
    assert context == TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, sampled=True)
    assert str(context) == TRACEPARENT
    assert extract("cc" + TRACEPARENT[2:] + "-more") == context
    assert extract(TRACEPARENT[:-2] + "00") == TraceContext(context.trace_id, context.span_id, sampled=False)


@pytest.mark.parametrize(
    "text",
    [
        "ff" + TRACEPARENT[2:],
        TRACEPARENT + "-more",
        TRACEPARENT + "\n",
        TRACEPARENT.upper(),
        "00-" + "0" * 32 + TRACEPARENT[35:],
        TRACEPARENT[:36] + "0" * 16 + "-01",
        TRACEPARENT[:-1],
        "cc" + TRACEPARENT[2:] + "-" + "x" * 600,
        "00-\u0664" + TRACEPARENT[4:],
        None,
        7,
        b"00",
    ],
)
def test_a_spoilt_traceparent_is_no_trace(text: object) -> None:
    """What is not of the form is nothing, never an error: the work in the payload matters more than its trace."""
    assert extract(text) is None


@given(st.text() | st.none() | st.integers())
def test_no_text_breaks_extract(text: object) -> None:
    """Whatever a payload holds there, it is read or ignored."""
    context = extract(text)
    assert context is None or extract(str(context)) == context


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
)
def test_a_context_survives_its_text(trace_id: int, span_id: int, sampled: bool) -> None:
    """Writing and reading gives the same."""
    context = TraceContext(trace_id, span_id, sampled)
    assert extract(str(context)) == context


def test_off_does_nothing() -> None:
    """The tracer of a site that did not ask has the same methods and no effect."""
    tracer = make_tracer(enabled=False)
    assert isinstance(tracer, NullTracer)
    with tracer.span(Stage.INGEST, kind="server", call="x") as span:
        span.set(outcome="completed")
        span.fail("x")
        assert span.context is None
        assert tracer.inject() == ""
    begun = tracer.begin(Stage.INGEST)
    begun.end()
    tracer.close()


def test_off_needs_no_package_of_opentelemetry() -> None:
    """Nothing of it is imported until tracing is on."""
    program = (
        "import sys, app.telemetry.tracing as t; t.make_tracer(enabled=False); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_on_without_its_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra to install."""
    monkeypatch.delitem(sys.modules, "app.telemetry.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingError, match="extra 'otel'"):
        make_tracer(enabled=True)


def test_on_sends_to_the_collector(collector: Collector) -> None:
    """Spans arrive by OTLP over HTTP at the path that was given, when the tracer closes at the latest."""
    tracer = make_tracer(enabled=True, endpoint=collector.endpoint, service_name="kowairo-eu")
    with tracer.span(Stage.INGEST, kind="server"):
        pass
    tracer.close()
    ((path, body),) = collector.received
    assert path == "/v1/traces"
    assert b"kowairo-eu" in body
    assert b"ingest" in body


def test_a_collector_that_is_away_harms_nothing(collector: Collector) -> None:
    """Spans that nobody takes are dropped; closing returns."""
    collector.stop()
    tracer = OtelTracer(otlp_processor(collector.endpoint))
    with tracer.span(Stage.INGEST):
        pass
    tracer.close()
    assert collector.received == []
