"""Twilio's emulator against our own reading side, and against the protocol page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.audio.g711 import PcmArray, decode
from app.domain import Encoding, Leg
from app.emulators.base import EmulatedCall, Message
from app.emulators.twilio import TwilioEmulator
from app.wire.base import Audio, Dtmf, Start, Stop, WireEvent
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.twilio import CARRIER

BOTH = (Leg.CUSTOMER, Leg.AGENT)
CALL = EmulatedCall("CA" + "0" * 31 + "1", BOTH, path="/v1/ingest/twilio", host="voice.example.com")
ONE = replace(CALL, legs=(Leg.CUSTOMER,))


def frames(count: int, legs: int, seed: int = 1) -> list[list[PcmArray]]:
    """20 ms frames of every leg, of values that µ-law keeps."""
    codes = np.random.default_rng(seed).integers(0, 256, (count, legs, 160), dtype=np.uint8)
    return [[decode(leg.tobytes(), Encoding.PCM_MULAW) for leg in frame] for frame in codes]


def played(
    call: EmulatedCall, audio: list[list[PcmArray]], config: CarrierConfig | None = None
) -> list[WireEvent]:
    """The events of a whole call: what the emulator says, heard by the parser."""
    emulator = TwilioEmulator(call)
    protocol = CARRIER.new_protocol(config or CarrierConfig(), UpgradeRequest(call.path))
    messages: list[Message] = emulator.opening()
    for frame in audio:
        messages += emulator.audio(frame)
    messages += emulator.closing()
    assert emulator.ready
    assert emulator.ended
    assert emulator.problem is None
    return [event for message in messages for event in protocol.receive_text(str(message), 0.0)]


def heard(events: list[WireEvent]) -> dict[Leg, list[int]]:
    """The samples of every leg, in order; packets must follow each other without a hole."""
    start = events[0]
    assert isinstance(start, Start)
    legs: dict[Leg, list[int]] = {leg: [] for leg in start.call.format.channels}
    for event in events:
        if isinstance(event, Audio):
            leg = start.call.format.tracks[event.packet.track][0]
            assert event.packet.position_samples == len(legs[leg])
            legs[leg] += decode(event.packet.payload, Encoding.PCM_MULAW).tolist()
    return legs


@pytest.mark.parametrize(
    ("legs", "parameters"),
    [
        (BOTH, {}),
        (BOTH[::-1], {}),
        (BOTH, {"inbound_is": "agent"}),
        ((Leg.CUSTOMER,), {}),
        ((Leg.AGENT,), {}),
        ((Leg.AGENT,), {"inbound_is": "agent"}),
        ((Leg.MIXED,), {"leg": "mixed"}),
    ],
)
def test_what_is_played_is_heard(legs: tuple[Leg, ...], parameters: dict[str, str]) -> None:
    """Every leg's audio comes out as it went in, under its own name."""
    audio = frames(25, len(legs))
    events = played(replace(CALL, legs=legs, parameters=parameters), audio)
    assert heard(events) == {
        leg: np.concatenate([frame[n] for frame in audio]).tolist() for n, leg in enumerate(legs)
    }
    assert events[-1] == Stop()


def test_ids_and_parameters_arrive() -> None:
    """As custom parameters, the message secret among them."""
    call = replace(CALL, parameters={"line": "l1", "queue": "q"}, secrets={"AC7": "s"}, message_secret="t0k")
    start, *_ = played(call, [], CarrierConfig(message_secret="t0k"))
    assert isinstance(start, Start)
    assert (start.call.call_id, start.call.line) == (CALL.call_id, "l1")
    metadata = dict(start.call.metadata)
    stream = str(metadata.pop("stream_sid"))
    assert metadata == {"carrier": "twilio", "call_sid": CALL.call_id, "account_sid": "AC7", "queue": "q"}
    assert (stream[:2], len(stream)) == ("MZ", 34)


def test_messages_are_as_the_protocol_page_shows_them() -> None:
    """Names, order of events, numbers as text."""
    emulator = TwilioEmulator(ONE)
    messages: list[Any] = [*emulator.opening(), *emulator.audio(frames(1, 1)[0]), *emulator.dtmf("5")]
    messages += [*emulator.audio(frames(1, 1)[0]), *emulator.closing()]
    told = [json.loads(message) for message in messages]
    assert told[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert [message["event"] for message in told[1:]] == ["start", "media", "dtmf", "media", "stop"]
    assert [message["sequenceNumber"] for message in told[1:]] == ["1", "2", "3", "4", "5"]
    assert told[1]["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert [(told[n]["media"]["chunk"], told[n]["media"]["timestamp"]) for n in (2, 4)] == [
        ("1", "0"),
        ("2", "20"),
    ]
    assert told[3]["dtmf"] == {"track": "inbound_track", "digit": "5"}
    assert set(told[5]["stop"]) == {"accountSid", "callSid"}


def test_clocks_go_on_over_what_is_lost_or_held_back() -> None:
    """Audio that is not sent leaves its place empty."""
    emulator = TwilioEmulator(CALL)
    protocol = CARRIER.new_protocol(CarrierConfig(), UpgradeRequest("/"))
    (frame,) = frames(1, 2)
    messages = [*emulator.opening(), *emulator.audio(frame)]
    emulator.audio(frame)  # lost
    messages += [*emulator.audio(frame), *emulator.pause(), *emulator.resume(50), *emulator.audio(frame)]
    events = [event for message in messages for event in protocol.receive_text(str(message), 0.0)]
    positions = [event.packet.position_samples for event in events if isinstance(event, Audio)]
    assert positions == [0, 0, 320, 320, 8_480, 8_480]


def test_keys_are_told_on_two_way_streams_only() -> None:
    """`<Connect>` is what one inbound leg is played over."""
    emulator = TwilioEmulator(ONE)
    protocol = CARRIER.new_protocol(CarrierConfig(), UpgradeRequest("/"))
    messages = [*emulator.opening(), *emulator.dtmf("#")]
    assert Dtmf("#", 0) in [
        event for message in messages for event in protocol.receive_text(str(message), 0.0)
    ]
    assert TwilioEmulator(CALL).dtmf("#") == []


@pytest.mark.parametrize("origin", [None, "wss://kowairo.example", "https://kowairo.example:8443/"])
def test_signatures_open_the_door(origin: str | None) -> None:
    """Signed for the public address, with any secret the site knows; the path as it is."""
    call = replace(CALL, public_origin=origin, secrets={"AC1": "token"})
    config = CarrierConfig(public_origin=origin, secrets={"AC0": "other", "AC1": "token"})
    handshake = TwilioEmulator(call).handshake()
    assert handshake.target == CALL.path
    headers = {name.lower(): value for name, value in handshake.headers.items()} | {"host": CALL.host}
    door = CARRIER.new_authenticator(config)
    door.check(UpgradeRequest(handshake.target, headers=headers), 0.0)
    with pytest.raises(RefusedError):
        door.check(UpgradeRequest(handshake.target + "x", headers=headers), 0.0)
    assert TwilioEmulator(CALL).handshake().headers == {}


@pytest.mark.parametrize(
    ("legs", "message", "problem"),
    [
        (BOTH, "{}", "31924"),
        (BOTH, b"", "31924"),
        ((Leg.AGENT,), "{}", "31924"),
        ((Leg.CUSTOMER,), b"\x00", "31950"),
        ((Leg.CUSTOMER,), "no JSON", "31950"),
        ((Leg.CUSTOMER,), "[]", "31950"),
        ((Leg.CUSTOMER,), '{"event":"connected"}', "31951"),
        ((Leg.CUSTOMER,), '{"event":"clear","streamSid":"MZother"}', "31951"),
        ((Leg.CUSTOMER,), '{"event":"mark","streamSid":"STREAM"}', "31951"),
    ],
)
def test_what_twilio_would_not_accept_is_a_problem(
    legs: tuple[Leg, ...], message: Message, problem: str
) -> None:
    """By the number of Twilio's error; nothing may be said on a one-way stream."""
    emulator = TwilioEmulator(replace(CALL, legs=legs))
    stream = json.loads(emulator.opening()[1])["streamSid"]
    assert emulator.receive(message.replace("STREAM", stream) if isinstance(message, str) else message) == []
    assert emulator.problem is not None
    assert emulator.problem.startswith(problem)


def test_what_twilio_accepts_is_none() -> None:
    """Audio and `clear` are taken, marks are echoed."""
    emulator = TwilioEmulator(ONE)
    stream = json.loads(emulator.opening()[1])["streamSid"]
    for said in ({"event": "media", "media": {"payload": "/w=="}}, {"event": "clear"}):
        assert emulator.receive(json.dumps(said | {"streamSid": stream})) == []
    (echo,) = emulator.receive(json.dumps({"event": "mark", "streamSid": stream, "mark": {"name": "m"}}))
    assert json.loads(echo)["mark"] == {"name": "m"}
    assert emulator.problem is None


def test_other_rates_are_refused() -> None:
    """Twilio knows 8 kHz only."""
    with pytest.raises(ValueError, match="8000"):
        TwilioEmulator(replace(CALL, sample_rate_hz=16_000))
