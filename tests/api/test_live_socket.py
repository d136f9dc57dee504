"""The live feeds over WebSockets: the same events, refused before they are accepted, closed with a reason."""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from app.access.principal import Scope
from app.api.live_socket import MAX_MESSAGE_CHARS, MESSAGES_AT_ONCE
from app.results.live_event import LiveEvent
from app.results.store import StoreAwayError
from tests.support.feeds import appending, call_info, closing, opening
from tests.support.live import happen, pass_by, seen_by_server, stalled
from tests.support.server import eventually
from tests.support.service import ServerThread, make_settings, server
from tests.support.streams import customer_audio, listen, opened, play, receive
from tests.support.tenants import Tenants, make_tenants

VIEWERS = 200
QUEUE = 64


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path_factory.mktemp("tenants"))


@pytest.fixture(scope="module")
def walled(bundle: Path, tenants: Tenants) -> Iterator[ServerThread]:
    """A server of two tenants."""
    with server(make_settings(bundle, **tenants.groups)) as running:
        yield running


def ws(running: ServerThread, path: str) -> str:
    """An address of the server for sockets."""
    return running.url.replace("http", "ws", 1) + path


@contextmanager
def viewer(running: ServerThread, path: str, **options: Any) -> Iterator[ClientConnection]:
    """A viewer that has been greeted."""
    with opened(ws(running, path), **options) as socket:
        assert receive(socket)["type"] == "keepalive"
        yield socket


def refused(running: ServerThread, path: str, **options: Any) -> tuple[int, str]:
    """How an upgrade is refused: status and code."""
    with pytest.raises(InvalidStatus) as caught, opened(ws(running, path), **options):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"{}").get("code")


def test_a_call_as_it_happens(live: ServerThread) -> None:
    """A real call, watched among all and again from its first record; it closes with 1000 at the call's end."""
    kinds = ("call_started", "speech_start", "utterance", "call_ended")
    query = "&".join(["line=ws", *(f"type={kind}" for kind in kinds)])
    with viewer(live, f"/v1/events?{query}") as socket:
        play(live.stream_url, customer_audio(6.5), call_id="ws-1", line="ws")
        seen = [receive(socket) for _ in kinds]
    assert [message["type"] for message in seen] == list(kinds)
    assert [message["position"] is None for message in seen] == [False, True, False, False]
    assert seen[2]["seq"] == 1
    with opened(ws(live, "/v1/calls/ws-1/events?from_seq=1")) as socket:
        messages = listen(socket)
        assert (socket.close_code, socket.close_reason) == (1000, "call_ended")
    assert [message["type"] for message in messages] == ["keepalive", "resumed", "utterance", "call_ended"]
    assert messages[1] == {
        "type": "resumed", "seq": None, "position": None, "call_id": "ws-1", "from_seq": 1, "next_seq": 2,
        "complete": True,
    }  # fmt: skip
    assert messages[2]["scores"] == seen[2]["scores"]


def test_resuming_by_position(live: ServerThread) -> None:
    """From where the first message of a viewer said that it was."""
    call = call_info("ws-resume", live.services.owner)
    with opened(ws(live, "/v1/events")) as socket:
        mark = receive(socket)["position"] or 0
        happen(live, opening(call), appending(1, call), closing(call, 1))
        seen = [receive(socket) for _ in range(3)]
    with viewer(live, f"/v1/events?call_id=ws-resume&from_position={mark + 1}") as socket:
        resumed, *again = (receive(socket) for _ in range(4))
    assert (resumed["type"], resumed["complete"]) == ("resumed", True)
    assert [(message["position"], message["seq"]) for message in again] == [
        (message["position"], message["seq"]) for message in seen
    ]


def test_a_quiet_socket_says_how_far_it_is(bundle: Path) -> None:
    """What the filter kept away is passed over: the number to resume after moves on."""
    with server(make_settings(bundle, live={"keepalive_s": 0.05})) as running:
        call = call_info("quiet", running.services.owner)
        happen(running, opening(call))
        with (
            viewer(running, "/v1/events?line=another") as feed,
            viewer(running, "/v1/calls/quiet/events?leg=agent") as of_call,
        ):
            happen(running, *(appending(seq, call) for seq in range(1, 4)))
            eventually(lambda: receive(feed) == {"type": "keepalive", "position": 4} or None)
            eventually(lambda: receive(of_call) == {"type": "keepalive", "seq": 3} or None)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/calls/nobody/events", 404, "call_not_found"),
        ("/v1/calls/%21/events", 404, "call_not_found"),
        ("/v1/events?leg=boss", 422, "invalid_request"),
        ("/v1/events?lime=a", 422, "invalid_request"),
        ("/v1/events?leg=agent&leg=agent", 422, "invalid_request"),
        ("/v1/events?emotion=hungry", 422, "invalid_request"),
        ("/v1/events?from_position=0", 422, "invalid_request"),
        ("/v1/events?from_seq=1", 422, "invalid_request"),
        ("/v1/events?last_event_id=x", 422, "invalid_request"),
        ("/v1/events?type=lunch", 422, "invalid_request"),
        ("/v1/events?token=abc", 400, "secret_in_query"),
    ],
)
def test_what_cannot_be_served_is_never_accepted(
    live: ServerThread, path: str, status: int, code: str
) -> None:
    """The upgrade is answered as a request would be."""
    assert refused(live, path) == (status, code)


def test_strangers_are_never_accepted(walled: ServerThread, tenants: Tenants) -> None:
    """Nobody without credentials or the scope, no page of another site, and nobody of another tenant."""
    alpha, beta = tenants.all
    happen(walled, opening(call_info("alphas", walled.services.owner, alpha.name)))
    path = "/v1/calls/alphas/events"
    assert refused(walled, path)[0] == 401
    for tenant, scopes, expected in ((alpha, (Scope.INGEST,), 403), (beta, (), 404)):
        assert refused(walled, path, additional_headers=tenant.headers(*scopes))[0] == expected
    foreign = {**alpha.headers(), "Origin": "https://example.org"}
    assert refused(walled, path, additional_headers=foreign) == (403, "foreign_origin")
    with viewer(walled, path, subprotocols=alpha.subprotocols()) as socket:
        assert socket.subprotocol == "kowairo"
    with viewer(walled, "/v1/events", additional_headers=beta.headers()) as socket:
        happen(walled, appending(1, call_info("alphas", walled.services.owner, alpha.name)))
        happen(walled, opening(call_info("betas", walled.services.owner, beta.name)))
        message = receive(socket)
        assert (message["call_id"], message["position"]) == ("betas", 1)


def test_there_is_no_room_for_everybody(bundle: Path) -> None:
    """503 before the upgrade is accepted."""
    settings = make_settings(bundle, live={"max_subscribers": 1})
    with server(settings) as running, viewer(running, "/v1/events"):
        assert refused(running, "/v1/events") == (503, "too_many_feeds")


@pytest.mark.parametrize(
    ("messages", "close"),
    [
        (["x" * (MAX_MESSAGE_CHARS + 1)], (1009, "message_too_big")),
        ([b"\0" * (MAX_MESSAGE_CHARS + 1)], (1009, "message_too_big")),
        (["{}"] * (MESSAGES_AT_ONCE + 5), (1008, "too_many_messages")),
    ],
)
def test_viewers_have_little_to_say(
    live: ServerThread, messages: list[str | bytes], close: tuple[int, str]
) -> None:
    """What is too big or too much closes the socket; a little is ignored."""
    with viewer(live, "/v1/events") as socket:
        socket.send('{"type":"subscribe"}')
        try:
            for message in messages:
                socket.send(message)
        except ConnectionClosed:
            pass
        listen(socket)
        assert (socket.close_code, socket.close_reason) == close


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (StoreAwayError("away"), (1013, "store_unavailable")),
        (RuntimeError("broken"), (1011, "internal_error")),
    ],
)
def test_a_store_that_goes_away_in_the_middle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, close: tuple[int, str]
) -> None:
    """What was read is told, then the socket closes; who comes meanwhile is refused."""

    async def away(*_: object, **__: object) -> None:
        raise error

    with server(make_settings(bundle, live={"page_events": 2})) as running:
        call = call_info("c", running.services.owner)
        happen(running, opening(call), *(appending(seq, call) for seq in range(1, 6)))
        store = running.services.store
        there = store.list_records
        pages = iter((there, away))

        async def once(*args: Any, **options: Any) -> Any:
            return await next(pages)(*args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "list_records", once)
            with opened(ws(running, "/v1/calls/c/events?from_seq=1")) as socket:
                assert [message["seq"] for message in listen(socket)[2:]] == [1, 2]
                assert (socket.close_code, socket.close_reason) == close
        if close[0] == 1013:
            monkeypatch.setattr(store, "list_records", away)
            assert refused(running, "/v1/calls/c/events?from_seq=1") == (503, "store_unavailable")


def test_who_comes_during_a_shutdown_is_sent_elsewhere(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the upgrade is accepted."""
    with server(make_settings(bundle)) as running:
        monkeypatch.setattr(running.services.registry, "_draining", True)
        assert refused(running, "/v1/events") == (503, "draining")


def test_a_shutdown_closes_sockets(bundle: Path) -> None:
    """1001, connect elsewhere."""
    with server(make_settings(bundle)) as running, viewer(running, "/v1/events") as socket:
        running.begin_end()
        listen(socket)
        assert (socket.close_code, socket.close_reason) == (1001, "draining")


def test_access_that_ends_closes_sockets(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is taken out of the keys file while a viewer watches."""
    monkeypatch.setattr("app.api.auth.RECHECK_S", 0.05)
    own = make_tenants(tmp_path)
    with (
        server(make_settings(bundle, **own.groups)) as running,
        viewer(running, "/v1/events", additional_headers=own.all[0].headers()) as socket,
    ):
        monkeypatch.setattr("app.access.authenticator.Authenticator._record", lambda *_, **__: _nothing())
        listen(socket)
        assert (socket.close_code, socket.close_reason) == (1008, "unauthorized")


async def _nothing() -> None:
    """No such key any more."""


def test_one_that_does_not_read_harms_nobody(bundle: Path) -> None:
    """One of two hundred reads nothing: the others get every record in order; it holds little, and is closed."""
    settings = make_settings(
        bundle, live={"send_timeout_s": 2.0, "queue_events": QUEUE, "max_subscribers": VIEWERS}
    )
    with server(settings) as running, ExitStack() as stack:
        call = call_info("c", running.services.owner)
        running.listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 8_192)
        publisher = running.services.publisher
        happen(running, opening(call))
        address = f"{running.url}/v1/calls/c/events"
        stack.enter_context(stalled(address, websocket=True))
        others = [
            stack.enter_context(viewer(running, "/v1/calls/c/events", max_queue=None))
            for _ in range(VIEWERS - 1)
        ]
        assert publisher.subscribers == VIEWERS
        seqs = count(1)
        told = 0

        def some_more() -> bool | None:
            nonlocal told
            some = list(islice(seqs, 8))
            happen(running, *(appending(seq, call) for seq in some))
            for socket in others:
                assert [receive(socket)["seq"] for _ in some] == some
            told = some[-1]
            assert seen_by_server(running, lambda: publisher.most_waiting) <= QUEUE
            return publisher.subscribers == VIEWERS - 1 or None

        eventually(some_more, 60.0)
        assert told > QUEUE
        happen(running, closing(call, told))
        for socket in others:
            assert receive(socket)["type"] == "call_ended"


def test_one_that_reads_again_is_told_what_it_lost(bundle: Path) -> None:
    """It was behind, but not for too long: `lagged` names the numbers, and nothing else is missing."""
    settings = make_settings(bundle, live={"send_timeout_s": 60.0, "queue_events": QUEUE})
    with server(settings) as running:
        call = call_info("c", running.services.owner)
        running.listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 8_192)
        publisher = running.services.publisher
        happen(running, opening(call))
        lost: list[int] = []
        publisher._on_drop = lost.append
        with opened(
            ws(running, "/v1/calls/c/events?from_seq=1"), max_queue=1, sock=_small(running)
        ) as socket:
            assert [receive(socket)["type"] for _ in range(2)] == ["keepalive", "resumed"]
            told = 0
            while not lost:
                happen(running, *(appending(seq, call) for seq in range(told + 1, told + 41)))
                pass_by(running, LiveEvent("interim", "c", {"call_id": "c"}))
                told += 40
            happen(running, closing(call, told))
            messages = [message for message in listen(socket) if message["type"] != "keepalive"]
            assert socket.close_code == 1000
        seen = [message["seq"] for message in messages if message["seq"]]
        gaps = [message["missed"] for message in messages if message["type"] == "lagged"]
        named = [number for gap in gaps if gap for number in range(gap["from"], gap["to"] + 1)]
        assert named
        assert sorted(seen + named) == list(range(1, told + 1))
        assert seen == sorted(seen)
        assert sum(message["dropped"] for message in messages if message["type"] == "lagged") == sum(lost)


def _small(running: ServerThread) -> sockets.socket:
    """A connection with a small buffer."""
    host, _, port = running.url.removeprefix("http://").rpartition(":")
    viewer = sockets.socket()
    viewer.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    viewer.connect((host, int(port)))
    return viewer
