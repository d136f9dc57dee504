"""Tenants are walls, also where things happen: sockets, streams, calls that go on, webhooks and alerts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.delivery.parts import HOST
from tests.delivery.receiver import receiving
from tests.support.live import watching
from tests.support.server import eventually
from tests.support.streams import (
    Message,
    customer_audio,
    listen,
    of_type,
    opened,
    receive,
    say,
    start_message,
    started,
)
from tests.support.tenants import Tenant
from tests.support.walls import (
    BEHIND,
    BROKEN,
    ENDED,
    GHOST,
    LINE,
    LIVE,
    MARK,
    SECRET,
    TEAM,
    World,
    fill,
    world,
)

CLIP_S = 6.5
STOP = '{"type":"stop"}'
TWILIO = {"tenant": BEHIND, "secrets": {"AC1": "0123456789abcdef0123456789abcdef"}}


@pytest.fixture(scope="module")
def made(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service in which one tenant has everything."""
    folder = tmp_path_factory.mktemp("walls")
    with world(bundle, folder, carriers={"twilio": TWILIO}) as empty:
        fill(empty)
        yield empty


@contextmanager
def going_on(made: World, call_id: str) -> Iterator[tuple[Any, str]]:
    """A live call of the tenant behind the wall: its socket and its secret."""
    fields = {"call_id": call_id, "line": LINE, "team": TEAM, "metadata": {"name": MARK}, "subject": MARK}
    with opened(made.server.stream_url, additional_headers=made.behind.headers()) as socket:
        socket.send(start_message(**fields))
        ready = receive(socket)
        assert ready["type"] == "ready"
        yield socket, ready["resume"]


def play(made: World, tenant: Tenant, call_id: str, **fields: Any) -> list[Message]:
    """A whole call with one record."""
    with started(made.server.stream_url, headers=tenant.headers(), call_id=call_id, **fields) as socket:
        messages = say(socket, [customer_audio(CLIP_S), STOP])
    assert len(of_type(messages, "utterance")) == 1
    return messages


def refusal(made: World, path: str, tenant: Tenant | None) -> tuple[int, str]:
    """The answer to an upgrade that is not accepted."""
    headers = None if tenant is None else tenant.headers()
    url = made.server.url.replace("http", "ws", 1) + path
    with pytest.raises(InvalidStatus) as caught, opened(url, additional_headers=headers):
        pass
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()


def leaked(made: World, text: str) -> list[str]:
    """Needles in a text."""
    return [needle for needle in made.needles() if needle in text]


def test_the_feed_of_a_call_behind_the_wall_is_none(made: World) -> None:
    """Ended, broken off or live: an upgrade is refused as for a call that never was. Its owner gets it."""
    with going_on(made, LIVE):
        for own in (ENDED, BROKEN, LIVE):
            for query in ("", "?from_seq=1", f"?line={LINE}", "?last_event_id=1-ended"):
                told = refusal(made, f"/v1/calls/{own}/events{query}", made.before)
                ghost = own.replace(MARK, GHOST)
                assert told == refusal(made, f"/v1/calls/{ghost}/events{query}", made.before)
                assert told[0] == 404
        url = made.server.url.replace("http", "ws", 1)
        with opened(f"{url}/v1/calls/{LIVE}/events", additional_headers=made.behind.headers()) as viewer:
            assert receive(viewer)["type"] == "keepalive"


@pytest.mark.parametrize(
    ("number", "query"),
    [
        (0, ""),
        (1, "from_position=1"),
        (2, "call_id={call}"),
        (3, f"line={LINE}&from_position=1"),
        (4, "last_event_id=1"),
    ],
)
def test_the_feed_of_a_tenant_tells_of_no_other(made: World, number: int, query: str) -> None:
    """By socket and by server-sent events, from now on and from the beginning, whatever is asked for.

    Both tenants have calls of the same id on lines of the same name.
    """
    call_id = f"{LIVE}-fed-{number}"
    path, headers = f"/v1/events?{query.format(call=call_id)}", made.before.headers()
    told: list[str] = []
    by_events: list[str] = []
    with (
        opened(made.server.url.replace("http", "ws", 1) + path, additional_headers=headers) as viewer,
        watching(made.server.url + path, headers) as events,
    ):
        play(made, made.behind, call_id, line=LINE, metadata={"name": MARK}, team=TEAM)
        play(made, made.before, call_id, line=LINE)
        while not told or not ended(json.loads(told[-1]), call_id):
            told.append(str(viewer.recv(30)))
        for event in events:
            by_events.append(json.dumps({**event.body, "type": event.type}))
            if ended(json.loads(by_events[-1]), call_id):
                break
    for messages in (told, by_events):
        own = [text for text in messages if json.loads(text).get("call_id") == call_id]
        kinds = [json.loads(text)["type"] for text in own]
        assert [kinds.count(kind) for kind in ("call_started", "utterance", "call_ended")] == [1, 1, 1]
        assert leaked(made, re.sub(f"{LIVE}-fed-[0-9]|{LINE}", "", "".join(messages))) == []


def ended(message: Message, call_id: str) -> bool:
    """Whether a message says that a call has ended."""
    return message.get("type") == "call_ended" and message["call_id"] == call_id


def test_a_call_behind_the_wall_is_not_taken_up(made: World) -> None:
    """Not with its id and its secret; while it goes on, it is not disturbed, paused or ended either."""
    url, headers = made.server.stream_url, made.before.headers()

    def attempt(call_id: str, secret: str) -> tuple[Message, int | None]:
        with opened(url, additional_headers=headers) as socket:
            socket.send(start_message(call_id=call_id, resume=secret))
            (message,) = listen(socket)
            return message, socket.close_code

    with going_on(made, f"{LIVE}-2") as (socket, secret):
        for call_id, known in ((BROKEN, SECRET), (f"{LIVE}-2", secret)):
            told, code = attempt(call_id, known)
            ghost, ghost_code = attempt(call_id.replace(MARK, GHOST), known)
            assert (told | {"call_id": ""}, code) == (ghost | {"call_id": ""}, ghost_code)
            assert told["code"] == "not_resumable"
        with made.client(made.before) as client:
            for action in ("pause", "resume"):
                assert client.send("POST", f"/v1/calls/{LIVE}-2/{action}").status == 404
            assert client.send("DELETE", f"/v1/calls/{LIVE}-2").status == 404
            wish = {"call_id": f"{LIVE}-2", "when_ended": True}
            assert client.send_json("POST", "/v1/erasures", wish).json["receipt"]["outcome"] == "nothing_held"
        with started(url, headers=headers, call_id=f"{LIVE}-2"):
            pass
        messages = say(socket, [customer_audio(CLIP_S), STOP])
    assert {message["type"] for message in messages} <= {"speech_start", "interim", "utterance", "summary"}
    assert len(of_type(messages, "utterance")) == 1
    with made.client(made.behind) as client:
        assert client.send("GET", f"/v1/calls/{LIVE}-2").json["outcome"] == "completed"
    with opened(url, additional_headers=made.behind.headers()) as socket:
        socket.send(start_message(call_id=BROKEN, resume=SECRET))
        assert receive(socket)["type"] == "ready"


def test_a_key_opens_no_carriers_door(made: World) -> None:
    """A carrier's calls are its tenant's; another tenant's key is worth as much there as none."""
    for path in ("/v1/ingest/twilio", "/v1/ingest/twilio/secret", "/v1/ingest/nobody"):
        assert refusal(made, path, made.before) == refusal(made, path, None)
        assert refusal(made, path, made.behind)[0] in (401, 403, 404)


def test_webhooks_and_alerts_go_to_their_own_tenant(made: World) -> None:
    """Endpoints and rules without any filter: each tenant is told of its own calls, and of nothing else."""
    with receiving() as (receiver, port):
        for tenant, place in ((made.behind, "behind"), (made.before, "before")):
            with made.client(tenant) as client:
                client.made("POST", "/v1/webhook-endpoints", {"url": f"http://{HOST}:{port}/{place}"})
                client.made("POST", "/v1/alert-rules", {"kind": "expected_cost", "above": 0.0})
        fields = {"line": LINE, "team": TEAM, "metadata": {"name": MARK}, "subject": MARK}
        play(made, made.behind, f"{LIVE}-3", **fields)
        play(made, made.before, "mine-3")
        for place, call_id in (("/behind", f"{LIVE}-3"), ("/before", "mine-3")):
            wanted = {"call_started", "utterance", "alert", "call_ended"}

            def delivered(place: str = place, wanted: set[str] = wanted) -> bool | None:
                kinds = {one.json["type"] for one in list(receiver.received) if one.path == place}
                return True if kinds >= wanted else None

            eventually(delivered)
            calls = {one.json["data"]["call_id"] for one in receiver.received if one.path == place}
            assert calls == {call_id}
        own = b"".join(one.body for one in receiver.received if one.path == "/before").decode()
        assert leaked(made, own) == []
    with made.client(made.before) as client:
        assert {alert["call_id"] for alert in client.send("GET", "/v1/alerts").json["items"]} >= {"mine-3"}
        assert leaked(made, client.send("GET", "/v1/alerts").body.decode()) == []
        assert leaked(made, client.send("GET", "/v1/dead-letters").body.decode()) == []
