"""Two service processes share nothing but a Redis: what one does, the other knows; what one leaves, the other ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.redis import RedisServer, redis_server
from tests.support.server import RunningServer, eventually, running_server
from tests.support.streams import (
    Message,
    customer_audio,
    listen,
    of_type,
    opened,
    pieces,
    receive,
    say,
    start_message,
    started,
)
from tests.support.tiny_bundle import write_tiny_bundle

CLIP_S = 6.5
STOP = '{"type":"stop"}'

pytestmark = pytest.mark.slow


@dataclass(slots=True)
class Site:
    """A Redis, and what starts processes on it."""

    redis: RedisServer
    settings: dict[str, str]
    stack: ExitStack

    def process(self) -> RunningServer:
        """One more service."""
        return self.stack.enter_context(running_server(self.settings))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Everything that two processes share."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    with (
        redis_server(tmp_path / "redis", appendonly=True, appendfsync="always") as redis,
        ExitStack() as stack,
    ):
        settings = {
            "KOWAIRO_BUNDLE__PATH": str(bundle),
            "KOWAIRO_STORE__URL": redis.url,
            "KOWAIRO_STORE__SPOOL_PATH": str(tmp_path / "spool"),
            "KOWAIRO_STORE__HEARTBEAT_S": "0.2",
            "KOWAIRO_STORE__TIMEOUT_S": "0.5",
        }
        yield Site(redis, settings, stack)


def get(server: RunningServer, path: str) -> Any:
    """What REST says."""
    return httpx.get(server.url + path, trust_env=False, timeout=30).json()


def ended(server: RunningServer, call_id: str) -> Message:
    """The call, once it has ended."""

    def look() -> Message | None:
        call: Message = get(server, f"/v1/calls/{call_id}")
        return call if call.get("state") == "ended" else None

    return eventually(look)


def half_a_call(site: Site, server: RunningServer, call_id: str) -> tuple[Any, str]:
    """A live call with one record: its socket and its secret."""
    connection = site.stack.enter_context(opened(server.stream_url))
    connection.send(start_message(call_id=call_id))
    secret = receive(connection)["resume"]
    for piece in pieces(customer_audio(CLIP_S), 8_000):
        connection.send(piece)
    while receive(connection)["type"] != "utterance":
        pass
    return connection, secret


def test_a_viewer_elsewhere_sees_the_call(site: Site) -> None:
    """Records and passing events reach whoever watches at another process, once and in order."""
    worker, watched = site.process(), site.process()
    url = watched.url.replace("http", "ws", 1)
    with opened(f"{url}/v1/events?call_id=seen") as viewer:
        with started(worker.stream_url, call_id="seen") as socket:
            say(socket, [customer_audio(CLIP_S), STOP])
        told: list[Message] = []
        while not told or told[-1]["type"] != "call_ended":
            told.append(json.loads(viewer.recv(30)))
    kinds = [message["type"] for message in told]
    assert kinds.count("call_started") == kinds.count("utterance") == kinds.count("call_ended") == 1
    assert of_type(told, "utterance")[0]["seq"] == 1


def test_a_call_goes_on_at_the_other_process(site: Site) -> None:
    """SIGTERM sends the caller away with 1001; its secret opens the call elsewhere."""
    first, second = site.process(), site.process()
    socket, secret = half_a_call(site, first, "moved")
    first.process.send_signal(signal.SIGTERM)
    listen(socket)
    assert socket.close_code == 1001
    assert first.process.wait(30) == 0
    with opened(second.stream_url) as again:
        again.send(start_message(call_id="moved", resume=secret))
        assert receive(again)["type"] == "ready"
        messages = say(again, [customer_audio(CLIP_S), STOP])
    assert [record["seq"] for record in of_type(messages, "utterance")] == [2]
    records = get(second, "/v1/calls/moved/utterances")["items"]
    assert [record["seq"] for record in records] == [1, 2]
    assert [record["durable"] for record in records] == [True, True]
    assert ended(second, "moved")["outcome"] == "completed"


def test_the_calls_of_a_killed_process_end(site: Site) -> None:
    """Another process notices that its heart stopped, and says how its calls ended."""
    first, second = site.process(), site.process()
    socket, secret = half_a_call(site, first, "orphan")
    first.process.kill()
    first.process.wait(30)
    socket.close()
    assert ended(second, "orphan")["outcome"] == "interrupted"
    with opened(second.stream_url) as again:
        again.send(start_message(call_id="orphan", resume=secret))
        assert receive(again)["type"] == "ready"
        messages = say(again, [customer_audio(CLIP_S), STOP])
    account = messages[-1]["legs"]["customer"]["audio"]
    assert account["rejected"]["interrupted"] > 0


def test_without_redis_from_the_start(site: Site) -> None:
    """The service starts, scores and says that it is degraded; what it scored is there once Redis is."""
    site.redis.kill()
    server = site.process()
    with started(server.stream_url, call_id="early") as socket:
        messages = say(socket, [customer_audio(CLIP_S), STOP])
    assert [record["durable"] for record in of_type(messages, "utterance")] == [True]
    assert get(server, "/readyz")["status"] == "degraded"
    assert httpx.get(server.url + "/v1/calls", trust_env=False).json()["code"] == "store_unavailable"
    site.redis.start()
    eventually(lambda: True if get(server, "/readyz")["status"] == "ready" else None)
    assert [record["seq"] for record in get(server, "/v1/calls/early/utterances")["items"]] == [1]


def test_a_redis_that_hangs_holds_nobody_up(site: Site) -> None:
    """A stopped Redis counts as away after the time-out: the caller gets its records all the same."""
    server = site.process()
    with started(server.stream_url, call_id="hung") as socket:
        site.redis.pause()
        messages = say(socket, [customer_audio(CLIP_S), STOP])
    site.redis.go_on()
    assert [record["durable"] for record in of_type(messages, "utterance")] == [True]
    eventually(lambda: True if get(server, "/readyz")["status"] == "ready" else None)
    records = get(server, "/v1/calls/hung/utterances")["items"]
    assert [record["seq"] for record in records] == [1]
