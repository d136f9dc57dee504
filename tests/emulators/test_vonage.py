"""Vonage's emulator against our own reading side, and against the protocol page."""

from __future__ import annotations

import json
from dataclasses import replace

import jwt
import numpy as np
import pytest

from app.audio.g711 import PcmArray, decode
from app.domain import Encoding, Leg
from app.emulators.base import EmulatedCall, Message
from app.emulators.vonage import VonageEmulator
from app.wire.base import Audio, Dtmf, Start, WireEvent
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.vonage import CARRIER

SECRET = "kowairo-test-signature-secret-0001"
CALL = EmulatedCall(
    "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    (Leg.CUSTOMER,),
    encoding=Encoding.PCM_S16LE,
    path="/v1/ingest/vonage",
    now_s=1_767_225_600.0,
)
MIXED = CarrierConfig(single=Leg.MIXED)


def frames(count: int, legs: int, rate_hz: int = 8_000) -> list[list[PcmArray]]:
    """20 ms frames of every leg."""
    noise = np.random.default_rng(1).integers(-20_000, 20_000, (count, legs, rate_hz // 50), dtype=np.int16)
    return [list(frame) for frame in noise]


def played(call: EmulatedCall, audio: list[list[PcmArray]], config: CarrierConfig = MIXED) -> list[WireEvent]:
    """The events of a whole call: what the emulator says, heard by the parser."""
    emulator = VonageEmulator(call)
    protocol = CARRIER.new_protocol(config, UpgradeRequest(call.path, call.query))
    messages: list[Message] = [*emulator.opening(), *emulator.dtmf("#")]
    for frame in audio:
        messages += emulator.audio(frame)
    assert emulator.closing() == []
    assert emulator.ready
    assert emulator.ended
    events: list[WireEvent] = []
    for n, message in enumerate(messages):
        if isinstance(message, bytes):
            events += protocol.receive_bytes(message, 0.02 * n)
        else:
            events += protocol.receive_text(message, 0.02 * n)
    return events


def start_of(events: list[WireEvent]) -> Start:
    """The first event."""
    assert isinstance(events[0], Start)
    return events[0]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
@pytest.mark.parametrize("leg", list(Leg))
def test_what_is_played_is_heard(leg: Leg, rate_hz: int) -> None:
    """One leg's audio comes out as it went in, under its own name, at every rate."""
    audio = frames(25, 1, rate_hz)
    events = played(replace(CALL, legs=(leg,), sample_rate_hz=rate_hz), audio)
    start = start_of(events).call
    assert (start.call_id, start.format.channels, start.format.sample_rate_hz) == (
        CALL.call_id,
        (leg,),
        rate_hz,
    )
    payload = b"".join(event.packet.payload for event in events if isinstance(event, Audio))
    assert (
        decode(payload, Encoding.PCM_S16LE).tolist() == np.concatenate([frame[0] for frame in audio]).tolist()
    )
    assert Dtmf("#") in events


def test_two_legs_are_mixed() -> None:
    """The sum, limited to what 16 bits hold, is nobody's."""
    loud = [np.full(160, 30_000, np.int16), np.full(160, 5_000, np.int16)]
    quiet = [np.full(160, -7, np.int16), np.full(160, 5, np.int16)]
    events = played(replace(CALL, legs=(Leg.CUSTOMER, Leg.AGENT)), [loud, quiet])
    assert start_of(events).call.format.channels == (Leg.MIXED,)
    packets = [event.packet.payload for event in events if isinstance(event, Audio)]
    assert [set(decode(packet, Encoding.PCM_S16LE).tolist()) for packet in packets] == [{32_767}, {-2}]


def test_messages_are_always_whole_frames() -> None:
    """A short last piece is filled up."""
    (message,) = VonageEmulator(CALL).audio([np.ones(7, np.int16)])
    assert message == b"\x01\x00" * 7 + bytes(306)


def test_parameters_are_ncco_headers() -> None:
    """They win over what the emulator would say itself; the message secret is among them."""
    call = replace(
        CALL, parameters={"line": "l1", "leg": "agent", "application_id": "app"}, message_secret="t0k"
    )
    events = played(call, [], CarrierConfig(message_secret="t0k"))
    start = start_of(events).call
    assert (start.line, start.format.channels) == ("l1", (Leg.AGENT,))
    assert start.metadata == {"carrier": "vonage", "call_uuid": CALL.call_id}
    first = json.loads(VonageEmulator(CALL).opening()[0])
    assert first == {
        "event": "websocket:connected",
        "content-type": "audio/l16;rate=8000",
        "call_uuid": CALL.call_id,
        "role": "customer",
    }


def test_tokens_open_the_door() -> None:
    """A JWT per connection, of the application that a parameter names; a custom value; or nothing."""
    secrets = {"a1b2c3d4": SECRET}
    call = replace(CALL, secrets=secrets, query="x=1", parameters={"application_id": "app"})
    door = CARRIER.new_authenticator(CarrierConfig(secrets=secrets, options={"application_id": "app"}))
    emulator = VonageEmulator(call)
    for _ in range(2):  # a reconnection has a token of its own
        handshake = emulator.handshake()
        assert handshake.target == "/v1/ingest/vonage?x=1"
        value = handshake.headers["Authorization"]
        door.check(UpgradeRequest(call.path, headers={"authorization": value}), call.now_s)
    with pytest.raises(RefusedError):
        door.check(UpgradeRequest(call.path, headers={"authorization": value}), call.now_s)
    assert jwt.get_unverified_header(value.partition(" ")[2]) == {"alg": "HS256", "typ": "JWT"}
    plain = VonageEmulator(replace(CALL, secrets=secrets)).handshake().headers["Authorization"]
    claims = jwt.decode(plain.partition(" ")[2], options={"verify_signature": False})
    assert set(claims) == {"iat", "jti", "iss", "api_key"}
    custom = replace(CALL, secrets={"a1b2c3d4": SECRET, "authorization": "Bearer abc"})
    assert VonageEmulator(custom).handshake().headers == {"Authorization": "Bearer abc"}
    assert VonageEmulator(CALL).handshake().headers == {}


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ('{"action":"clear"}', {"event": "websocket:cleared"}),
        ('{"action":"notify","payload":{"id":"n1"}}', {"event": "websocket:notify", "payload": {"id": "n1"}}),
        (bytes(320), None),
    ],
)
def test_what_vonage_accepts(message: Message, answer: dict[str, object] | None) -> None:
    """Audio in whole frames, `clear` and `notify`."""
    emulator = VonageEmulator(CALL)
    assert [json.loads(said) for said in emulator.receive(message)] == ([] if answer is None else [answer])
    assert emulator.problem is None


@pytest.mark.parametrize(
    "message", [bytes(160), b"", "no JSON", "[]", "{}", '{"action":"notify"}', '{"type":"ready"}']
)
def test_what_vonage_would_not_accept_is_a_problem(message: Message) -> None:
    """Audio of another length makes it hang up; scores are no message of this wire."""
    emulator = VonageEmulator(CALL)
    assert emulator.receive(message) == []
    assert emulator.problem is not None


def test_other_rates_are_refused() -> None:
    """Vonage knows three."""
    with pytest.raises(ValueError, match="24000"):
        VonageEmulator(replace(CALL, sample_rate_hz=48_000))
