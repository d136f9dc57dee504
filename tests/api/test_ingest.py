"""Carriers' doors: who comes in, what they are told, and how their calls are kept."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from app.settings import Settings, SettingsError
from tests.support.service import ServerThread, api, make_settings, server

SECRET = "a-path-that-nobody-knows"
TOKEN = "0123456789abcdef0123456789abcdef"
SILENCE = base64.b64encode(b"\xff" * 160).decode()


def twilio_start(call: str, **parameters: str) -> list[str]:
    """The first two messages of a stream."""
    body = {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": call,
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters,
    }
    start = {"event": "start", "sequenceNumber": "1", "start": body, "streamSid": "MZ1"}
    return [json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}), json.dumps(start)]


def twilio_media(number: int, track: str = "inbound") -> str:
    """20 ms of silence, the `number`th of the stream's track."""
    media = {"track": track, "chunk": str(number), "timestamp": str(20 * (number - 1)), "payload": SILENCE}
    return twilio_message("media", 2 * number + (track != "inbound"), media)


def twilio_message(event: str, number: int, body: Mapping[str, object]) -> str:
    """A message of the stream."""
    return json.dumps({"event": event, "sequenceNumber": str(number), event: body, "streamSid": "MZ1"})


STOP = twilio_message("stop", 99_999, {})


async def refusal(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """The answer to an upgrade that is not accepted."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, additional_headers=headers):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"{}")


async def call_body(address: str, call_id: str) -> dict[str, Any]:
    """What REST says of a call, once it has ended."""
    async with httpx.AsyncClient(base_url=address) as client:
        while True:
            body: dict[str, Any] = (await client.get(f"/v1/calls/{call_id}")).json()
            if body.get("state") == "ended":
                return body


def ws(running: ServerThread, path: str) -> str:
    """A socket's address."""
    return running.url.replace("http", "ws", 1) + path


def test_a_carrier_without_credentials_is_taken_on_loopback(live: ServerThread) -> None:
    """Development: the call comes in with its two tracks, and everything that was sent is accounted for."""

    async def scenario() -> dict[str, Any]:
        async with connect(ws(live, "/v1/ingest/twilio")) as client:
            for message in [
                *twilio_start("CA-dev", agent_id="7"),
                *(twilio_media(n) for n in range(1, 51)),
                STOP,
            ]:
                await client.send(message)
            await client.wait_closed()
            assert client.close_code == 1000
        return await call_body(live.url, "CA-dev")

    body = asyncio.run(scenario())
    assert (body["outcome"], body["legs"]) == ("completed", ["customer", "agent"])
    assert body["metadata"]["agent_id"] == "7"
    customer = body["summary"]["legs"]["customer"]["audio"]
    assert (customer["silence_s"], customer["lost_s"]) == (1.0, 0.0)


def test_unknown_carriers_and_foreign_pages_are_refused(live: ServerThread) -> None:
    """With problem details, before the socket is accepted."""
    status, problem = asyncio.run(refusal(ws(live, "/v1/ingest/carrier-pigeon")))
    assert (status, problem["code"]) == (404, "unknown_carrier")
    status, problem = asyncio.run(refusal(ws(live, "/v1/ingest/audiosocket")))
    assert (status, problem["code"]) == (404, "unknown_carrier")
    status, problem = asyncio.run(
        refusal(ws(live, "/v1/ingest/twilio"), {"Origin": "https://elsewhere.example"})
    )
    assert (status, problem["code"]) == (403, "foreign_origin")


def test_in_production_a_carrier_needs_credentials(bundle: Path) -> None:
    """A path that nobody knows is one; a signature is another, and both are asked for where both are set."""
    carriers = {
        "public_origin": "wss://voice.example.com",
        "vonage": {"path_secret": SECRET},
        "twilio": {"secrets": {"AC1": TOKEN}},
    }
    settings = make_settings(bundle, mode="production", auth={"api_keys": "k" * 32}, carriers=carriers)

    async def scenario(running: ServerThread) -> None:
        status, problem = await refusal(ws(running, "/v1/ingest/freeswitch"))
        assert (status, problem["code"]) == (403, "carrier_not_configured")
        for path in ("/v1/ingest/vonage", "/v1/ingest/vonage/" + "x" * 24):
            status, problem = await refusal(ws(running, path))
            assert (status, problem["code"]) == (403, "wrong_path")
        async with connect(ws(running, f"/v1/ingest/vonage/{SECRET}")):
            pass
        status, _ = await refusal(ws(running, "/v1/ingest/twilio"))
        assert status == 403
        signed = hmac.new(TOKEN.encode(), b"wss://voice.example.com/v1/ingest/twilio", hashlib.sha1).digest()
        headers = {"X-Twilio-Signature": base64.b64encode(signed).decode()}
        async with connect(ws(running, "/v1/ingest/twilio"), additional_headers=headers):
            pass
        refused = running.services.metrics.registry.get_sample_value
        assert refused("kowairo_ingest_refused_total", {"carrier": "vonage", "code": "wrong_path"}) == 2

    with server(settings) as running:
        asyncio.run(scenario(running))


def test_settings_that_a_carrier_cannot_use_stop_the_service(bundle: Path) -> None:
    """With the variable's name."""
    settings = make_settings(bundle, carriers={"twilio": {"options": {"colour": "red"}}})
    with pytest.raises(SettingsError, match="KOWAIRO_CARRIERS__TWILIO"), api(settings):
        pass
    with pytest.raises(ValueError, match="16 to 256"):
        make_settings(bundle, carriers={"twilio": {"path_secret": "short"}})


def test_streams_of_one_call_follow_each_other(live: ServerThread) -> None:
    """A second stream of a call gets an id of its own; nothing is refused and nothing overwritten."""

    async def scenario() -> None:
        for _ in range(2):
            async with connect(ws(live, "/v1/ingest/twilio")) as client:
                for message in [*twilio_start("CA-again"), twilio_media(1), STOP]:
                    await client.send(message)
                await client.wait_closed()
        assert (await call_body(live.url, "CA-again"))["outcome"] == "completed"
        assert (await call_body(live.url, "CA-again.2"))["outcome"] == "completed"

    asyncio.run(scenario())


def test_a_call_can_be_paused_over_rest(live: ServerThread) -> None:
    """Its audio is dropped until it is resumed, and shown as paused."""

    async def scenario() -> dict[str, Any]:
        async with (
            connect(ws(live, "/v1/ingest/twilio")) as client,
            httpx.AsyncClient(base_url=live.url) as rest,
        ):
            await send_and_wait(client, rest, "CA-pay", [*twilio_start("CA-pay"), twilio_media(1)])
            assert (await rest.post("/v1/calls/CA-pay/pause")).status_code == 204
            for number in range(2, 27):
                await client.send(twilio_media(number))
            await client.send(twilio_message("dtmf", 60, {"track": "inbound_track", "digit": "4"}))
            await wait_for_metadata(rest, "CA-pay", "dtmf")
            assert (await rest.post("/v1/calls/CA-pay/resume")).status_code == 204
            await client.send(twilio_media(31))
            await client.send(STOP)
            await client.wait_closed()
            assert (await rest.post("/v1/calls/CA-pay/pause")).json()["code"] == "call_ended"
            assert (await rest.post("/v1/calls/CA-nobody/pause")).status_code == 404
        return await call_body(live.url, "CA-pay")

    body = asyncio.run(scenario())
    audio = body["summary"]["legs"]["customer"]["audio"]
    assert audio["rejected"] == {"paused": 0.5}
    assert audio["lost_s"] == 0.08
    assert body["metadata"]["dtmf"] == [{"digit": None, "leg": "customer", "at_s": 0.52}]


async def send_and_wait(
    client: ClientConnection, rest: httpx.AsyncClient, call_id: str, messages: list[str]
) -> None:
    """Begins a call, and returns once it is known."""
    for message in messages:
        await client.send(message)
    while (await rest.get(f"/v1/calls/{call_id}")).status_code != 200:
        pass


async def wait_for_metadata(rest: httpx.AsyncClient, call_id: str, name: str) -> None:
    """Returns once the call's metadata has this member."""
    while name not in (await rest.get(f"/v1/calls/{call_id}")).json()["metadata"]:
        pass


def test_a_tunnel_may_bring_a_carrier_with_credentials(bundle: Path) -> None:
    """Another name than this machine's opens only the doors of carriers that can be told from strangers."""
    settings = make_settings(bundle, carriers={"vonage": {"path_secret": SECRET}})

    async def scenario(running: ServerThread) -> None:
        port = int(running.url.rpartition(":")[2])
        async with connect(f"ws://tunnel.example/v1/ingest/vonage/{SECRET}", host="127.0.0.1", port=port):
            pass
        with pytest.raises(InvalidStatus) as caught:
            async with connect("ws://tunnel.example/v1/ingest/twilio", host="127.0.0.1", port=port):
                pass
        assert caught.value.response.status_code == 421

    with server(settings) as running:
        asyncio.run(scenario(running))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def audiosocket(bundle: Path, **fields: Any) -> tuple[Settings, int]:
    """A service with a listener."""
    port = free_port()
    group = {"listen": f"127.0.0.1:{port}"} | fields
    return make_settings(bundle, carriers={"audiosocket": group}), port


async def play_audiosocket(port: int, call: uuid.UUID, frames: int = 5) -> bytes:
    """A short call; what the service said on the socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    with contextlib.suppress(OSError):  # a service that does not even read resets the connection
        writer.write(b"\x01\x00\x10" + call.bytes + (b"\x10\x01\x40" + bytes(320)) * frames)
        writer.write_eof()
        said = await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return said


def test_an_audiosocket_call_is_what_was_announced(bundle: Path) -> None:
    """Leg, line and metadata come from the registration; the call ends when Asterisk closes."""
    settings, port = audiosocket(bundle)
    call = uuid.UUID("6ba7b814-9dad-41d1-80b4-00c04fd430c8")

    async def scenario(running: ServerThread) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=running.url) as rest:
            body = {"leg": "agent", "line": "support", "metadata": {"queue": "7"}}
            assert (await rest.put(f"/v1/ingest/audiosocket/{call}", json=body)).status_code == 204
            assert (await rest.put("/v1/ingest/audiosocket/nonsense", json={})).status_code == 422
        await play_audiosocket(port, call)
        return await call_body(running.url, str(call))

    with server(settings) as running:
        body = asyncio.run(scenario(running))
    assert (body["legs"], body["line"], body["outcome"]) == (["agent"], "support", "completed")
    assert body["metadata"]["queue"] == "7"
    assert body["summary"]["duration_s"] == 0.1


def test_only_announced_calls_are_taken_where_that_is_asked(bundle: Path) -> None:
    """An unknown UUID is sent away; an address that is not allowed is not even read."""
    settings, port = audiosocket(bundle, registered_only=True)
    with server(settings) as running:
        assert asyncio.run(play_audiosocket(port, uuid.uuid4())) == b"\x00\x00\x00"
        value = running.services.metrics.registry.get_sample_value
        while (
            value("kowairo_carrier_connections_total", {"carrier": "audiosocket", "outcome": "rejected"}) != 1
        ):
            pass
    settings, port = audiosocket(bundle, allow=["192.0.2.0/24"])
    with server(settings):
        assert asyncio.run(play_audiosocket(port, uuid.uuid4())) == b""


def test_a_listener_that_cannot_listen_stops_the_service(bundle: Path) -> None:
    """Two on one port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        group = {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}
        settings = make_settings(bundle, carriers={"audiosocket": group})

        async def scenario() -> None:
            from app.api.audiosocket import listening
            from app.main import build_services

            services = build_services(settings)
            try:
                async with listening(services):
                    pass
            finally:
                services.pool.shutdown()
                services.uploads.close()
                services.engine.close()

        with pytest.raises(SettingsError, match="AUDIOSOCKET__LISTEN"):
            asyncio.run(scenario())
