"""When a part of the service fails: the call that met it ends or goes on as documented, no other notices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import httpx

from app.api.deps import Services
from app.domain import FloatArray, TokenArray
from app.inference.errors import InferenceError
from app.leg import TokenStream
from app.main import build_services
from app.results.memory import MemoryBounds, MemoryStore
from app.results.memory_beside import MemoryDocuments, MemoryQueue
from app.results.store import StoreAwayError, Stored, StoreError
from app.results.writes import Write
from app.settings import Settings
from app.telemetry.clock import SystemClock
from tests.support.logs import logged
from tests.support.service import ServerThread, server
from tests.support.streams import customer_audio, listen, of_type, play, receive, say, started

CLIP_S = 6.5
STOP = '{"type":"stop"}'


class BrokenTokens:
    """A tokenizer that fails on the first audio."""

    def push(self, samples: FloatArray) -> None:
        """Fails."""
        raise InferenceError("tokenizer: a graph failed")

    def tokens(self, n_samples: int) -> TokenArray:
        """Never asked."""
        raise AssertionError

    def reset(self) -> None:
        """Nothing to forget."""


def with_broken_first_call(services: Services) -> Services:
    """The same parts, but the first call's tokenizer fails."""
    session = services.engine.parts.session
    working = session.new_token_stream
    streams: Iterator[TokenStream] = iter([BrokenTokens()])

    def new_token_stream() -> TokenStream:
        return next(streams, None) or working()

    parts = replace(services.engine.parts, session=replace(session, new_token_stream=new_token_stream))
    return replace(services, engine=replace(services.engine, parts=parts))


class DeadStore(MemoryStore):
    """A store that keeps nothing and says so."""

    async def write(self, writes: Sequence[Write]) -> list[Stored | StoreError]:
        """Fails."""
        raise StoreAwayError("no connection")

    async def ping(self) -> None:
        """Fails."""
        raise StoreAwayError("no connection")


def dead_store() -> DeadStore:
    """One of its kind."""
    clock = SystemClock()
    return DeadStore(clock, MemoryBounds(), MemoryDocuments(clock), MemoryQueue(clock))


def sample(live: ServerThread, name: str, labels: dict[str, str]) -> float | None:
    """A figure of the server's metrics."""
    value: float | None = live.services.metrics.registry.get_sample_value(name, labels)
    return value


def test_a_call_that_cannot_go_on_ends_alone(plain: Settings) -> None:
    """1011 and `internal_error` for it, everything as ever for the call beside it."""
    with server(plain, with_broken_first_call(build_services(plain))) as live:
        with started(live.stream_url, call_id="broken") as broken, started(live.stream_url) as other:
            replies = say(broken, [customer_audio(CLIP_S)])
            assert replies[-1]["code"] == "internal_error"
            assert (broken.close_code, broken.close_reason) == (1011, "internal_error")
            messages = say(other, [customer_audio(CLIP_S), STOP])
        assert len(of_type(messages, "utterance")) == 1
        call = httpx.get(f"{live.url}/v1/calls/broken", trust_env=False).json()
        assert (call["state"], call["outcome"]) == ("ended", "failed")
        assert sample(live, "kowairo_calls_total", {"outcome": "failed"}) == 1


def test_scoring_goes_on_without_a_store(plain: Settings) -> None:
    """The client gets its records; `/readyz` says degraded and a metric counts what was lost."""
    services = build_services(plain)
    with server(plain, replace(services, store=dead_store())) as live:
        messages = play(live.stream_url, customer_audio(CLIP_S))
        assert len(of_type(messages, "utterance")) == 1
        ready = httpx.get(f"{live.url}/readyz", trust_env=False)
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert sample(live, "kowairo_store_errors_total", {"operation": "append"}) == 1
        assert sample(live, "kowairo_store_errors_total", {"operation": "close_call"}) == 1


def test_the_log_tells_of_calls_but_not_of_people(plain: Settings) -> None:
    """Start, end and faults are there, with the call's id; metadata, scores and addresses are not."""
    with logged(level="debug") as log, server(plain, with_broken_first_call(build_services(plain))) as live:
        with started(live.stream_url, call_id="call-1", metadata={"phone": "5550199"}) as broken:
            say(broken, [customer_audio(CLIP_S)])
        with started(live.stream_url, call_id="call-2", metadata={"name": "Ann"}) as socket:
            socket.send(customer_audio(CLIP_S))
            assert receive(socket)["type"] == "speech_start"
            emotion = receive(socket)["emotion"]
            socket.send(STOP)
            listen(socket)
        httpx.get(f"{live.url}/v1/calls?line=5550199", trust_env=False)
    text = log.getvalue()
    assert {"call_started", "call_ended", "call_failed"} <= {
        part.split('"')[0] for part in text.split('"event": "')
    }
    assert "call-2" in text
    for private in ("5550199", "Ann", emotion, "127.0.0.1", "arousal"):
        assert private not in text
