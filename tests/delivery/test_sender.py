"""Attempts at a real receiver on loopback: what is sent, and how each ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.delivery.sender import Attempt, Message, Outcome, Sender
from app.delivery.signing import new_secret
from app.delivery.targets import TargetGuard
from app.settings import SettingsError
from tests.delivery.parts import HOST, Names, local_config
from tests.delivery.receiver import Answer, Received, certificate, receiving
from tests.support.clock import FakeClock

MESSAGE = Message("msg_1", "utterance", "2026-01-02T03:04:05.678Z", {"call_id": "call-1", "emotion": "anger"})
SECRET = new_secret()


def sender(names: Names | None = None, now: float = 1_700_000_000.0, **changes: Any) -> Sender:
    """A sender that may go to loopback."""
    config = local_config(**changes)
    known = names or Names({HOST: (("127.0.0.1",),), "other.example": (("127.0.0.1",),)})
    return Sender(config, TargetGuard(config, known), FakeClock(now))


def send(url: str, **changes: Any) -> Attempt:
    """One attempt."""
    return asyncio.run(sender(**changes).send(url, [SECRET], MESSAGE))


def test_a_delivery_is_signed_and_in_order() -> None:
    """The scheme's own package accepts it; the body is the payload of the scheme."""
    with receiving() as (receiver, port):
        attempt = send(f"http://{HOST}:{port}/in?x=1", now=time.time())
    (request,) = receiver.received
    assert attempt.outcome is Outcome.DELIVERED
    assert (attempt.status, attempt.detail, attempt.retry_after_s) == (204, None, None)
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == {
        "type": "utterance",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "data": {"call_id": "call-1", "emotion": "anger"},
    }
    assert request.path == "/in?x=1"
    assert request.headers["host"] == f"{HOST}:{port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["user-agent"] == "Kowairo-Webhooks/1"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (299, Outcome.DELIVERED),
        (301, Outcome.REJECTED),
        (400, Outcome.REJECTED),
        (410, Outcome.GONE),
        (429, Outcome.REJECTED),
        (500, Outcome.REJECTED),
    ],
)
def test_answers(status: int, outcome: Outcome) -> None:
    """Only 2xx is a delivery, and redirects are not followed."""
    with receiving(lambda _: Answer(status, {"Location": "/elsewhere"})) as (receiver, port):
        attempt = send(f"http://{HOST}:{port}/")
    assert (attempt.outcome, attempt.status) == (outcome, status)
    assert attempt.detail == (None if outcome is Outcome.DELIVERED else f"HTTP {status}")
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20", 60.0),
        ("Tue, 14 Nov 2000 22:14:20 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("9" * 40, None),
        ("Tue, 14 Nov 99999 22:14:20 GMT", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    """Seconds or a date; nonsense counts for nothing."""
    with receiving(lambda _: Answer(503, {"Retry-After": header})) as (_, port):
        assert send(f"http://{HOST}:{port}/").retry_after_s == seconds


def test_a_long_answer_is_not_read() -> None:
    """It counts by its status; the connection ends."""
    with receiving(lambda _: Answer(200, {}, b"x" * 50_000_000)) as (_, port):
        assert send(f"http://{HOST}:{port}/").outcome is Outcome.DELIVERED


def test_a_slow_answer_times_out() -> None:
    """After the attempt's time, whatever part of it takes so long."""
    answer_now = Event()
    with receiving(lambda _: Answer(after=answer_now)) as (_, port):
        attempt = send(f"http://{HOST}:{port}/", timeout_s=0.2)
        answer_now.set()
    assert (attempt.outcome, attempt.status) == (Outcome.TIMEOUT, None)
    assert attempt.detail == "no answer within 0.2 s"


def test_a_slow_lookup_times_out() -> None:
    """The name's lookup is within the attempt's time."""

    class Slow:
        async def resolve(self, host: str, port: int) -> tuple[str, ...]:
            await asyncio.Event().wait()
            return ()

    config = local_config(timeout_s=0.1)
    attempt = asyncio.run(
        Sender(config, TargetGuard(config, Slow()), FakeClock()).send(f"http://{HOST}/", [SECRET], MESSAGE)
    )
    assert attempt.outcome is Outcome.TIMEOUT


def test_nobody_there() -> None:
    """A port that nothing listens on, a name that nothing knows, something that is not HTTP."""
    with receiving() as (_, port):
        pass
    assert send(f"http://{HOST}:{port}/").outcome is Outcome.UNREACHABLE
    assert send("http://nowhere.example/").outcome is Outcome.UNREACHABLE

    async def not_http() -> Attempt:
        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await sender().send(f"http://{HOST}:{port}/", [SECRET], MESSAGE)

    assert asyncio.run(not_http()).outcome is Outcome.UNREACHABLE


def test_a_forbidden_target_is_refused_at_every_attempt() -> None:
    """A name that leads to a private address now, whatever it led to when the endpoint was made."""
    names = Names({HOST: (("127.0.0.1",), ("10.0.0.1",))})

    async def twice(port: int) -> list[Outcome]:
        one = sender(names)
        return [(await one.send(f"http://{HOST}:{port}/", [SECRET], MESSAGE)).outcome for _ in range(2)]

    with receiving() as (receiver, port):
        assert asyncio.run(twice(port)) == [Outcome.DELIVERED, Outcome.REFUSED]
    assert len(receiver.received) == 1
    refused = send("http://10.0.0.1/")
    assert (refused.outcome, refused.detail) == (
        Outcome.REFUSED,
        "expected a public address, and the host's is not",
    )


def test_tls_is_verified_by_name(tmp_path: Path) -> None:
    """The checked address is connected to, and the certificate must be the name's and of a trusted authority."""
    tls, authority = certificate(tmp_path, HOST)
    with receiving(tls=tls) as (receiver, port):
        assert send(f"https://{HOST}:{port}/", ca_file=authority).outcome is Outcome.DELIVERED
        assert send(f"https://other.example:{port}/", ca_file=authority).outcome is Outcome.UNREACHABLE
        assert send(f"https://{HOST}:{port}/").outcome is Outcome.UNREACHABLE
    assert [one.headers["host"] for one in receiver.received] == [f"{HOST}:{port}"]


def test_connections_are_used_again_while_they_are_kept() -> None:
    """One handshake for many deliveries; without, one each."""

    async def many(port: int, kept: Callable[[Sender], Any]) -> None:
        one = sender()
        async with kept(one):
            for _ in range(3):
                await one.send(f"http://{HOST}:{port}/", [SECRET], MESSAGE)

    class Plain:
        def __init__(self, _: Sender) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

    with receiving(lambda _: Answer(200, {}, b"ok")) as (receiver, port):
        asyncio.run(many(port, Sender.connections_kept))
        assert receiver.connections == 1
        asyncio.run(many(port, Plain))
        assert receiver.connections == 4


def test_no_proxy_and_no_cookie_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies are not used: a proxy would look the name up again."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    def answer(request: Received) -> Answer:
        return Answer(200, {"Set-Cookie": "a=b"})

    async def twice(port: int) -> None:
        one = sender()
        async with one.connections_kept():
            for _ in range(2):
                await one.send(f"http://{HOST}:{port}/", [SECRET], MESSAGE)

    with receiving(answer) as (receiver, port):
        asyncio.run(twice(port))
    assert [("cookie" in one.headers) for one in receiver.received] == [False, False]


def test_authorities_that_cannot_be_read_are_refused_at_the_start(tmp_path: Path) -> None:
    """The setting is named."""
    (tmp_path / "empty.pem").write_text("nothing", encoding="ascii")
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(SettingsError, match="KOWAIRO_DELIVERY__CA_FILE"):
            sender(ca_file=tmp_path / name)
