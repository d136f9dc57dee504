"""An erased call is gone: from every key and file of Redis, from the spool, from what waits for webhooks."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.exits import ExitCode
from app.cli.parser import main
from tests.delivery.receiver import Answer, Received, receiving
from tests.support.redis import RedisServer, redis_server
from tests.support.server import RunningServer, eventually, running_server
from tests.support.streams import customer_audio, listen, of_type, opened, pieces, receive, start_message
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.traces import traces_of

CLIP_S = 6.5
CALL = "needle-call"
SUBJECT = "needle-subject"
METADATA = {"needle-name": "needle-value", "number": "+49 30 needle"}
LABEL = {"label": "angry", "labeller": "needle-rater", "note": "needle-note"}
NEEDLES = ("needle-subject", "needle-name", "needle-value", "+49 30 needle", "needle-rater", "needle-note")

pytestmark = pytest.mark.slow


@dataclass(slots=True)
class Site:
    """A Redis whose files can be read as they are, a spool, and a receiver of webhooks."""

    folder: Path
    redis: RedisServer
    settings: dict[str, str]
    port: int

    def files(self, *needles: str) -> list[str]:
        """Where in the files of Redis and of the spool needles are found."""
        return traces_of(needles, self.folder / "redis", self.folder / "spool")

    def keys(self, *needles: str) -> list[str]:
        """Keys in which needles are found, as Redis writes them to disk; names count, too."""
        listed = self.redis.command("KEYS", "*").split(b"\r\n")
        names = [name.decode() for name in listed if name.startswith(b"kowairo:")]
        assert names
        held = {name: name.encode() + self.redis.command("DUMP", name) for name in names}
        return sorted(
            name for name, value in held.items() if any(needle.encode() in value for needle in needles)
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Redis compresses nothing, so that what is there can be found; the receiver fails or never answers."""
    plain = ("--rdbcompression", "no", "--aof-use-rdb-preamble", "no")
    never = threading.Event()

    def answer(received: Received) -> Answer:
        return Answer(500) if received.path == "/fails" else Answer(after=never)

    bundle = write_tiny_bundle(tmp_path / "tiny")
    with (
        redis_server(tmp_path / "redis", *plain, appendonly=True, appendfsync="always") as redis,
        receiving(answer) as (_, port),
        ExitStack() as stack,
    ):
        stack.callback(never.set)
        settings = {
            "KOWAIRO_BUNDLE__PATH": str(bundle),
            "KOWAIRO_STORE__URL": redis.url,
            "KOWAIRO_STORE__SPOOL_PATH": str(tmp_path / "spool"),
            "KOWAIRO_STORE__HEARTBEAT_S": "0.2",
            "KOWAIRO_STORE__TIMEOUT_S": "0.5",
            "KOWAIRO_DELIVERY__ALLOW_HTTP": "true",
            "KOWAIRO_DELIVERY__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
            "KOWAIRO_DELIVERY__ALLOWED_PORTS": "[]",
            "KOWAIRO_DELIVERY__RETRY_S": "[0.05]",
            "KOWAIRO_DELIVERY__POLL_S": "0.1",
            "KOWAIRO_DELIVERY__DRAIN_S": "0.2",
            "KOWAIRO_PRIVACY__RECEIPT_KEY": base64.b64encode(bytes(range(32))).decode(),
        }
        yield Site(tmp_path, redis, settings, port)


def client_of(server: RunningServer) -> httpx.Client:
    """Requests to the service."""
    return httpx.Client(base_url=server.url, trust_env=False, timeout=30)


def play(site: Site, server: RunningServer, rest: httpx.Client) -> None:
    """A call whose start and first record went through the spool; the second record Redis took itself."""
    site.redis.kill()
    with opened(server.stream_url) as socket:
        socket.send(start_message(call_id=CALL, subject=SUBJECT, metadata=METADATA))
        say_utterance(socket)
        assert len([place for place in site.files("needle-value") if "spool" in place]) > 0
        site.redis.start()
        eventually(lambda: True if rest.get("/readyz").json()["status"] == "ready" else None)
        say_utterance(socket)
        socket.send('{"type":"stop"}')
        assert of_type(listen(socket), "summary")
    eventually(lambda: True if rest.get(f"/v1/calls/{CALL}").json().get("state") == "ended" else None)


def say_utterance(socket: Any) -> None:
    """Says something, and waits for its record."""
    for piece in pieces(customer_audio(CLIP_S), 8_000):
        socket.send(piece)
    while receive(socket)["type"] != "utterance":
        pass


def subscribed(site: Site, rest: httpx.Client) -> None:
    """Endpoints of which one fails and one never answers; neither is told that a call was erased."""
    kinds = ["call_started", "utterance", "call_ended"]
    for place in ("fails", "hangs"):
        hook = {"url": f"http://127.0.0.1:{site.port}/{place}", "filter": {"types": kinds}}
        assert rest.post("/v1/webhook-endpoints", json=hook).status_code == 201


def test_nothing_of_an_erased_call_is_left(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metadata, subject, labels, dead letters and deliveries that wait, in Redis and in the spool.

    The call's id stays with the notice that it was erased: in the feed, and for who tells webhooks.
    """
    with running_server(site.settings) as server, client_of(server) as rest:
        subscribed(site, rest)
        play(site, server, rest)
        utterance = f"{CALL}.customer.0001"
        assert rest.post(f"/v1/utterances/{utterance}/feedback", json=LABEL).status_code == 201
        letters = eventually(lambda: rest.get("/v1/dead-letters").json()["items"] or None)
        assert {letter["call_id"] for letter in letters} == {CALL}
        assert {needle for needle in NEEDLES if site.keys(needle)} == set(NEEDLES)
        assert any("queue:" in key or "job:" in key for key in site.keys(CALL))

        answer = rest.delete(f"/v1/calls/{CALL}")
        assert (answer.status_code, answer.json()["status"]) == (200, "done"), answer.text
        counts = answer.json()["receipt"]["counts"]
        assert (counts["calls"], counts["records"], counts["metadata"], counts["feedback"]) == (1, 2, 2, 1)
        assert counts["dead_letters"] >= 1

        assert site.keys(*NEEDLES) == []
        eventually(lambda: True if not site.files(*NEEDLES) else None)
        left = [key.rpartition("}:")[2] for key in site.keys(CALL)]
        assert [name for name in left if not ("webhook" in name and ":call_erased:" in name)] == ["feed"]
        assert rest.get("/v1/feedback").json()["items"] == []
        assert rest.get("/v1/dead-letters").json()["items"] == []
        genuine(rest, answer.json(), tmp_path / "receipt.json", capsys)
        assert server.terminate() == 0
        assert [needle for needle in NEEDLES if needle in server.complaints()] == []
    assert site.files(*NEEDLES) == []


def genuine(
    rest: httpx.Client, erasure: dict[str, Any], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipt is what the service signed, and names nobody."""
    key = rest.get("/v1/erasures/key").json()["public_key"]
    file.write_text(json.dumps(erasure), encoding="utf-8")
    assert traces_of([*NEEDLES, CALL], file) == []
    assert main(["receipt", "verify", str(file), "--key", key]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("genuine: erasure ")
